package postgres

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// NodeCheckpoint is the end of a run's output, as the node says that sent it.
type NodeCheckpoint struct {
	NodeID string
	wire.LogCheckpoint
}

// StoreCheckpoints keeps the ends of the output of runs that live, of those that run on
// the node that speaks; others are passed over. All go in one statement.
func (db *DB) StoreCheckpoints(ctx context.Context, all []NodeCheckpoint) error {
	type row struct {
		NodeID      string        `json:"node_id"`
		PodID       string        `json:"pod_id"`
		Incarnation int           `json:"incarnation"`
		Attempt     int           `json:"attempt"`
		Lines       []api.LogLine `json:"lines"`
	}
	rows, at := make([]row, 0, len(all)), make(map[api.RunKey]int, len(all))
	for _, c := range all {
		r := row{NodeID: c.NodeID, PodID: c.PodID, Incarnation: c.Incarnation, Attempt: c.Attempt, Lines: c.Lines}
		if i, twice := at[c.RunKey]; twice { // a row can be written once only
			rows[i] = r
			continue
		}
		at[c.RunKey] = len(rows)
		rows = append(rows, r)
	}
	data, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	return db.read(ctx, "store log checkpoints", service, func(b *pgx.Batch) { // repeating it is harmless, and no feed cares
		b.Queue(`insert into stark.log_checkpoints as c (pod_id, incarnation, attempt, lines)
			select v.pod_id, v.incarnation, v.attempt, v.lines
			from jsonb_to_recordset($1::text::jsonb) as v (node_id uuid, pod_id uuid, incarnation integer, attempt integer, lines jsonb)
			join public.pod_runs r using (pod_id, incarnation, attempt)
			where r.node_id = v.node_id and r.status not in ('exited', 'lost')
			order by v.pod_id, v.incarnation, v.attempt
			on conflict (pod_id, incarnation, attempt) do update set lines = excluded.lines, taken_at = now()`, string(data))
	})
}

// storedRuns is how many runs of a pod are looked at: the newest may not have said
// anything yet.
const storedRuns = 4

// StoredLogs gives, by pod, the end of the output of its newest run that has left any, or
// with previous of one before its newest run. It reads for all of them in one statement, and
// one run of each, since a node may have stored much. The caller must have shown that they
// may see the pods.
func (db *DB) StoredLogs(ctx context.Context, podIDs []string, previous bool) (map[string]wire.StoredLogs, error) {
	for _, id := range podIDs {
		if err := checkID(id, "pod"); err != nil {
			return nil, err
		}
	}
	passed := 0
	if previous {
		passed = 1
	}
	var found []wire.StoredLogs
	err := db.readFor(ctx, "read stored logs", func(b *pgx.Batch) {
		b.Queue(`select x.pod_id::text, x.incarnation, x.attempt, x.termination, x.taken_at, x.lines
			from unnest($1::text[]::uuid[]) as w (pod_id) cross join lateral (
				select n.* from (
					select r.pod_id, r.incarnation, r.attempt, r.termination, c.taken_at, c.lines,
						row_number() over (order by r.incarnation desc, r.attempt desc) as nth
					from public.pod_runs r left join stark.log_checkpoints c using (pod_id, incarnation, attempt)
					where r.pod_id = w.pod_id order by r.incarnation desc, r.attempt desc limit $2) n
				where n.nth > $3 and (n.termination ->> 'lastOutput' <> '' or jsonb_array_length(n.lines) > 0)
				order by n.nth limit 1) x`, podIDs, storedRuns, passed).
			Query(all(&found, scanStoredLogs))
	})
	byPod := make(map[string]wire.StoredLogs, len(found))
	for _, s := range found {
		byPod[s.PodID] = s
	}
	return byPod, err
}

func scanStoredLogs(row pgx.CollectableRow) (wire.StoredLogs, error) {
	var s wire.StoredLogs
	var ended *api.Termination
	var at *time.Time
	if err := row.Scan(&s.PodID, &s.Incarnation, &s.Attempt, &ended, &at, &s.Lines); err != nil {
		return s, err
	}
	if at != nil {
		s.At = *at
	}
	if ended != nil {
		s.Ended, s.At, s.Lines = true, ended.FinishedAt, outputLines(*ended, s.Lines)
	}
	return s, nil
}

// outputLines makes lines of the last output of a run. It has no times of its own but
// that of its end; before says what is stored besides.
func outputLines(t api.Termination, before []api.LogLine) []api.LogLine {
	if t.LastOutput == "" {
		return before
	}
	var lines []api.LogLine
	for line := range strings.SplitSeq(strings.TrimSuffix(t.LastOutput, "\n"), "\n") {
		lines = append(lines, api.LogLine{Time: t.FinishedAt, Stream: api.StreamLog, Line: line, Attempt: t.Attempt})
	}
	return lines
}
