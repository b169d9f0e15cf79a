module github.com/stark-orchestrator/stark/agent

go 1.26

require github.com/stark-orchestrator/stark/shared v0.0.0

require github.com/andybalholm/brotli v1.3.0

require (
	github.com/coder/websocket v1.8.15
	github.com/google/uuid v1.6.0 // indirect
)

replace github.com/stark-orchestrator/stark/shared => ../shared
