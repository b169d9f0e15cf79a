package project

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
)

const probeLimit = 2 * time.Second // for the engine to answer

// Available reports in one line, as ErrAbsent, why images cannot be run here: no
// engine answers, or it does not have them. Nothing is ever pulled.
func Available(ctx context.Context, images ...string) error {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	engine, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return absent("no Docker engine answers", err)
	}
	defer func() { _ = engine.Close() }()
	if _, err := engine.Ping(ctx, client.PingOptions{}); err != nil {
		return absent("no Docker engine answers", err)
	}
	for _, image := range images {
		if _, err := engine.ImageInspect(ctx, image); err != nil {
			return absent("the Docker engine does not have "+image, err)
		}
	}
	return nil
}

func absent(reason string, err error) error {
	return fmt.Errorf("%w: %s (%s)", ErrAbsent, reason, strings.ReplaceAll(err.Error(), "\n", "; "))
}
