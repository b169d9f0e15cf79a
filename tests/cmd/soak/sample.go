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

// tables are asked about one by one: rows that are dead, and the size with indexes.
var tables = []string{
	"public.nodes", "public.pods", "public.pod_runs", "public.pod_history", "stark.changes",
	"stark.node_leases", "stark.node_history", "stark.log_checkpoints", "stark.verdicts", "stark.idempotent_writes",
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
		s.series(g.name, g.unit, g.floor).add(at, s.low[g.metric])
	}
	clear(s.low)
	for _, table := range tables {
		var there bool
		if err := s.conn.QueryRow(ctx, "select to_regclass($1) is not null", table).Scan(&there); err != nil {
			return err
		}
		if !there {
			return fmt.Errorf("there is no table %s", table)
		}
		var size, dead float64
		err := s.conn.QueryRow(ctx, `select pg_total_relation_size($1::text::regclass)::float8 / 1024,
			coalesce((select n_dead_tup from pg_stat_user_tables where relid = $1::text::regclass), 0)::float8`, table).Scan(&size, &dead)
		if err != nil {
			return err
		}
		s.series("size of "+table, "KiB", 2<<10).add(at, size)
		s.series("dead rows of "+table, "", 20_000).add(at, dead)
	}
	var rows float64
	if err := s.conn.QueryRow(ctx, "select count(*)::float8 from stark.changes").Scan(&rows); err != nil {
		return err
	}
	s.series("rows of the change log", "", 20_000).add(at, rows)
	return nil
}

func (s *soak) series(name, unit string, floor float64) *series {
	for _, one := range s.all {
		if one.name == name {
			return one
		}
	}
	one := &series{name: name, unit: unit, floor: floor}
	s.all = append(s.all, one)
	return one
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
