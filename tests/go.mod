module github.com/stark-orchestrator/stark/tests

go 1.26

require github.com/stark-orchestrator/stark/shared v0.0.0

replace github.com/stark-orchestrator/stark/shared => ../shared

require github.com/stark-orchestrator/stark/core v0.0.0

replace github.com/stark-orchestrator/stark/core => ../core

require github.com/stark-orchestrator/stark/server v0.0.0

replace github.com/stark-orchestrator/stark/server => ../server

require github.com/stark-orchestrator/stark/agent v0.0.0

replace github.com/stark-orchestrator/stark/agent => ../agent

require github.com/stark-orchestrator/stark/supabase v0.0.0

replace github.com/stark-orchestrator/stark/supabase => ../supabase

require github.com/stark-orchestrator/stark/cli v0.0.0

replace github.com/stark-orchestrator/stark/cli => ../cli
