module github.com/stark-orchestrator/stark/tests

go 1.26.0

require github.com/stark-orchestrator/stark/shared v0.0.0

replace github.com/stark-orchestrator/stark/shared => ../shared

require github.com/stark-orchestrator/stark/core v0.0.0

replace github.com/stark-orchestrator/stark/core => ../core

replace github.com/stark-orchestrator/stark/server => ../server

replace github.com/stark-orchestrator/stark/agent => ../agent

require github.com/stark-orchestrator/stark/supabase v0.0.0

replace github.com/stark-orchestrator/stark/supabase => ../supabase

require (
	github.com/coder/websocket v1.8.15
	github.com/jackc/pgx/v5 v5.12.0
	github.com/supabase-community/gotrue-go v1.2.0
	github.com/supabase-community/storage-go v0.8.1
	github.com/supabase-community/supabase-go v0.0.4
)

require (
	github.com/golang-jwt/jwt/v5 v5.3.1 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	github.com/pelletier/go-toml/v2 v2.4.3 // indirect
	github.com/supabase-community/functions-go v0.0.0-20220927045802-22373e6cb51d // indirect
	github.com/supabase-community/postgrest-go v0.0.11 // indirect
	github.com/tomnomnom/linkheader v0.0.0-20180905144013-02ca5825eb80 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/stark-orchestrator/stark/cli => ../cli
