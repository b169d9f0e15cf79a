package rest

import (
	"context"
	"net/http"
	"slices"
)

// putRow inserts or replaces the one row that the filters name by its primary key.
func putRow(s *service, c *call) error {
	q, err := c.changing()
	if err != nil {
		return err
	}
	if q.limited {
		return refuse(http.StatusBadRequest, "PGRST114", "limit/offset querystring parameters are not allowed for PUT")
	}
	p, err := s.payload(c)
	if err != nil {
		return err
	}
	if len(p.objects) != 1 {
		return keyMismatch()
	}
	columns := q.columns
	if columns == nil {
		columns = keys(p.objects[0])
	}
	c.prefer.resolution = "merge-duplicates"
	where := q.where
	q.where = nil
	w, _, err := s.write(c, q, func(ctx context.Context, t conversation, rel relation) (written, error) {
		if !namesOneRow(where, rel) {
			return written{}, refuse(http.StatusMethodNotAllowed, "PGRST105",
				"Filters must include all and only primary key columns with 'eq' operators")
		}
		for _, key := range rel.primary {
			if !slices.Contains(columns, key) {
				return written{}, keyMismatch()
			}
		}
		w, err := insertGroup(ctx, t, c, rel, q, group{columns: columns, text: p.list(), where: where})
		if err == nil && w.affected != 1 {
			err = keyMismatch()
		}
		return w, err
	})
	if err != nil {
		return err
	}
	status := http.StatusOK
	if w.inserted > 0 {
		status = http.StatusCreated
	}
	c.answerWrite(w, status, "*")
	return nil
}

func keyMismatch() *fault {
	return refuse(http.StatusBadRequest, "PGRST115", "Payload values do not match URL in primary key column(s)")
}

// namesOneRow tells whether each column of the primary key has one filter by equality,
// and nothing else has any.
func namesOneRow(where []node, rel relation) bool {
	if len(rel.primary) == 0 || len(where) != len(rel.primary) {
		return false
	}
	for _, key := range rel.primary {
		if !slices.ContainsFunc(where, func(n node) bool {
			return n.field.column == key && len(n.field.path) == 0 && n.operator == "eq" && !n.not && n.extra == ""
		}) {
			return false
		}
	}
	return true
}
