module github.com/stark-orchestrator/stark/supabase

go 1.26

require github.com/stark-orchestrator/stark/shared v0.0.0

replace github.com/stark-orchestrator/stark/shared => ../shared
