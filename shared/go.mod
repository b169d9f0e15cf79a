module github.com/stark-orchestrator/stark/shared

go 1.26
