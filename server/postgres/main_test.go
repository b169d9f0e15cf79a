package postgres_test

import (
	"context"
	"os"
	"testing"

	"github.com/stark-orchestrator/stark/server/postgres/postgrestest"
)

func TestMain(m *testing.M) { os.Exit(postgrestest.Main(context.Background(), m)) }
