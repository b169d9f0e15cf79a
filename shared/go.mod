module github.com/stark-orchestrator/stark/shared

go 1.26

require (
	github.com/Masterminds/semver/v3 v3.5.0
	github.com/google/uuid v1.6.0
)
