package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// result is what a statement brought.
type result struct {
	body  []byte
	shown int64 // rows in body
	total int64 // rows that there are; negative when nobody counted
}

func readTable(s *service, c *call) error {
	q, err := parseQuery(c.r, false)
	if err != nil {
		return err
	}
	if err := q.page.narrow(c.r.Header); err != nil {
		return err
	}
	var got result
	err = s.as(c.r.Context(), c, true, func(ctx context.Context, t conversation) error {
		rel, err := t.relation(ctx, c.schema, c.name)
		if err != nil {
			return err
		}
		if err := t.resolve(ctx, c.schema, &rel, q.items, new(int)); err != nil {
			return err
		}
		if err := related(rel.name, q.items, q.order); err != nil {
			return err
		}
		got, err = s.read(ctx, t, c, tableRows(&rel, q))
		return err
	})
	if err != nil {
		return err
	}
	return c.answerRows(got, q.page)
}

// read fetches a page of rows, and counts all of them when the caller wishes.
func (s *service) read(ctx context.Context, t conversation, c *call, r rows) (got result, err error) {
	st := &statement{}
	st.sql("with pgrst_source as (")
	r.sql(st, s.MaxRows)
	st.sql(") select ")
	c.media.body(st, "pgrst_source", false, false)
	st.sql(", count(*)::text")
	planned, err := s.planned(ctx, t, c, r)
	if err != nil {
		return got, err
	}
	if exact := c.prefer.count == "exact" || c.prefer.count == "estimated" && planned <= s.MaxRows; exact {
		r.count(st)
	}
	st.sql(" from pgrst_source as _pgrst_row")
	if got, err = t.result(ctx, st); err != nil {
		return got, err
	}
	if got.total < 0 && planned >= 0 {
		got.total = max(planned, got.shown)
	}
	if c.media.object && got.shown != 1 {
		return got, notSingular(got.shown)
	}
	return got, nil
}

// result runs a statement whose one row is body, rows shown and, perhaps, the number of all.
func (t conversation) result(ctx context.Context, s *statement) (got result, err error) {
	table, err := t.rows(ctx, s)
	if err != nil {
		return got, err
	}
	row := table[0]
	got = result{body: row[0], total: -1}
	if got.shown, err = strconv.ParseInt(string(row[1]), 10, 64); err != nil {
		return got, fmt.Errorf("count rows: %w", err)
	}
	if len(row) > 2 {
		if got.total, err = strconv.ParseInt(string(row[2]), 10, 64); err != nil {
			return got, fmt.Errorf("count rows: %w", err)
		}
	}
	return got, nil
}

// planned asks the planner how many rows there are, for callers who do not need to know exactly; else it is
// negative.
func (s *service) planned(ctx context.Context, t conversation, c *call, r rows) (int64, error) {
	if c.prefer.count != "planned" && c.prefer.count != "estimated" {
		return -1, nil
	}
	st := &statement{}
	st.sql("explain (format json) select from ")
	r.from(st)
	r.conditions(st)
	table, err := t.rows(ctx, st)
	if err != nil {
		return -1, err
	}
	var plans []struct {
		Plan struct {
			Rows int64 `json:"Plan Rows"`
		}
	}
	if err := json.Unmarshal(table[0][0], &plans); err != nil || len(plans) == 0 {
		return -1, fmt.Errorf("read a plan: %w", err)
	}
	return plans[0].Plan.Rows, nil
}

// narrow applies the header Range, such as 0-9, to a page.
func (p *page) narrow(h http.Header) error {
	text := strings.TrimPrefix(h.Get("Range"), "items=")
	first, last, ok := strings.Cut(text, "-")
	if !ok {
		return nil
	}
	low, err := strconv.ParseInt(first, 10, 63)
	if err != nil {
		return nil //nolint:nilerr // a range of another unit is no range of rows
	}
	p.offset = max(p.offset, low)
	if last == "" {
		return nil
	}
	high, err := strconv.ParseInt(last, 10, 63)
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	if high < low {
		return notSatisfiable().because("The lower boundary must be lower than or equal to the upper boundary in the Range header.")
	}
	if n := high - p.offset + 1; p.limit < 0 || n < p.limit {
		p.limit = max(n, 0)
	}
	return nil
}

// answerRows sends a page of rows with its place among all of them.
func (c *call) answerRows(got result, p page) error {
	status := http.StatusOK
	if got.total >= 0 && p.offset > 0 && p.offset > got.total {
		return notSatisfiable().because("An offset of %d was requested, but there are only %d rows.", p.offset, got.total)
	}
	if got.total >= 0 && got.shown < got.total {
		status = http.StatusPartialContent
	}
	c.w.Header().Set("Content-Range", contentRange(p.offset, got.shown, got.total))
	c.send(status, got.body)
	return nil
}

// contentRange is such as 0-9/100, where * stands for no rows or for an unknown number.
func contentRange(offset, shown, total int64) string {
	stretch, all := "*", "*"
	if shown > 0 {
		stretch = fmt.Sprintf("%d-%d", offset, offset+shown-1)
	}
	if total >= 0 {
		all = strconv.FormatInt(total, 10)
	}
	return stretch + "/" + all
}

// send writes the headers that every answer has, and a body where one is meant to be.
func (c *call) send(status int, body []byte) {
	h := c.w.Header()
	if c.byProfile {
		h.Set("Content-Profile", c.schema)
	}
	if len(c.prefer.applied) > 0 {
		h.Set("Preference-Applied", strings.Join(c.prefer.applied, ", "))
	}
	if body != nil {
		h.Set("Content-Type", c.media.contentType)
	}
	c.w.WriteHeader(status)
	if body != nil && c.r.Method != http.MethodHead {
		_, _ = c.w.Write(body) // a caller who has gone misses only his own answer
	}
}
