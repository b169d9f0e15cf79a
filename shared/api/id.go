//go:build !js

package api

import "github.com/google/uuid"

// NewID makes a UUID of version 7, so that keys sort by time.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }
