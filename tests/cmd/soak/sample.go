package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// gauges are what the server tells of itself, with the growth that says nothing.
var gauges = []struct {
	metric, name, unit string
	scale, floor       float64
}{
	{"go_memstats_heap_alloc_bytes", "heap, least between two points", "KiB", 1 << 10, 4 << 10},
	{"process_resident_memory_bytes", "resident memory", "KiB", 1 << 10, 16 << 10},
	{"go_goroutines", "goroutines, least between two points", "", 1, 30},
	{"process_open_fds", "open files", "", 1, 20},
}

// How long rows stay on purpose. The change log is compacted once a minute or so.
const (
	keepsChanges = 12 * time.Minute
	keepsWrites  = 25 * time.Hour
	keepsHistory = 31 * 24 * time.Hour
)

// tables are asked about one by one: rows that are dead, and the size with indexes.
var tables = []struct {
	name  string
	keeps time.Duration
}{
	{"public.nodes", 0},
	{"public.pods", 0},
	{"public.pod_runs", 0},
	{"public.pod_history", keepsHistory},
	{"stark.change_log", keepsChanges},
	{"stark.node_leases", 0},
	{"stark.node_history", keepsHistory},
	{"stark.log_checkpoints", 0},
	{"stark.verdicts", 0},
	{"stark.idempotent_writes", keepsWrites},
}

// look takes the least of each gauge, as the heap is after a collection.
func (s *soak) look(ctx context.Context) error {
	now, err := s.metrics(ctx)
	if err != nil {
		return err
	}
	for _, g := range gauges {
		value := now[g.metric] / g.scale
		if least, ok := s.low[g.metric]; !ok || value < least {
			s.low[g.metric] = value
		}
	}
	return nil
}

// point takes one sample of everything.
func (s *soak) point(ctx context.Context, at time.Duration) error {
	if err := s.look(ctx); err != nil {
		return err
	}
	for _, g := range gauges {
		s.series(series{name: g.name, unit: g.unit, floor: g.floor}).add(at, s.low[g.metric])
	}
	clear(s.low)
	for _, table := range tables {
		var there bool
		if err := s.conn.QueryRow(ctx, "select to_regclass($1) is not null", table.name).Scan(&there); err != nil {
			return err
		}
		if !there {
			return fmt.Errorf("there is no table %s", table.name)
		}
		var size, dead float64
		err := s.conn.QueryRow(ctx, `select pg_total_relation_size($1::text::regclass)::float8 / 1024,
			coalesce((select n_dead_tup from pg_stat_user_tables where relid = $1::text::regclass), 0)::float8`, table.name).Scan(&size, &dead)
		if err != nil {
			return err
		}
		s.series(series{name: "size of " + table.name, unit: "KiB", floor: 2 << 10, keeps: table.keeps}).add(at, size)
		s.series(series{name: "dead rows of " + table.name, floor: 20_000}).add(at, dead)
	}
	var rows float64
	if err := s.conn.QueryRow(ctx, "select count(*)::float8 from stark.change_log").Scan(&rows); err != nil {
		return err
	}
	s.series(series{name: "rows of the change log", floor: 20_000, keeps: keepsChanges}).add(at, rows)
	return nil
}

// series gives the one of that name.
func (s *soak) series(of series) *series {
	for _, one := range s.all {
		if one.name == of.name {
			return one
		}
	}
	s.all = append(s.all, &of)
	return &of
}

// metrics reads what the server tells of itself.
func (s *soak) metrics(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("/metrics: %s", resp.Status)
	}
	all := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if number, err := strconv.ParseFloat(value, 64); err == nil {
			all[name] = number
		}
	}
	for _, g := range gauges {
		if _, ok := all[g.metric]; !ok {
			return nil, fmt.Errorf("/metrics has no %s", g.metric)
		}
	}
	return all, nil
}
