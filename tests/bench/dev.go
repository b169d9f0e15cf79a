package main

import (
	"bytes"
	"encoding/json"
	"time"
)

// firstReady notes when the line of the step "ready" came by.
type firstReady struct {
	begin time.Time
	took  time.Duration
	rest  []byte
}

// Write takes output of `stark dev --json`.
func (f *firstReady) Write(p []byte) (int, error) {
	now := time.Now()
	f.rest = append(f.rest, p...)
	for {
		line, rest, found := bytes.Cut(f.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		f.rest = rest
		var step struct {
			Step string `json:"step"`
			OK   bool   `json:"ok"`
		}
		if json.Unmarshal(line, &step) == nil && step.Step == "ready" && step.OK && f.took == 0 {
			f.took = now.Sub(f.begin)
		}
	}
}
