module github.com/stark-orchestrator/stark/cli

go 1.26.0

require github.com/stark-orchestrator/stark/shared v0.0.0

replace github.com/stark-orchestrator/stark/shared => ../shared

require github.com/stark-orchestrator/stark/core v0.0.0

replace github.com/stark-orchestrator/stark/core => ../core

require github.com/stark-orchestrator/stark/server v0.0.0

replace github.com/stark-orchestrator/stark/server => ../server

require github.com/stark-orchestrator/stark/agent v0.0.0

replace github.com/stark-orchestrator/stark/agent => ../agent

require github.com/stark-orchestrator/stark/supabase v0.0.0

require github.com/evanw/esbuild v0.28.2 // indirect

replace github.com/stark-orchestrator/stark/supabase => ../supabase
