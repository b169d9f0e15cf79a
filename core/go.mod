module github.com/stark-orchestrator/stark/core

go 1.26

require (
	github.com/benbjohnson/immutable v0.4.3
	github.com/stark-orchestrator/stark/shared v0.0.0
	pgregory.net/rapid v1.3.0
)

require (
	github.com/google/uuid v1.6.0 // indirect
	golang.org/x/exp v0.0.0-20220518171630-0b5c67f07fdf // indirect
)

replace github.com/stark-orchestrator/stark/shared => ../shared
