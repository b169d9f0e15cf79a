package api

// Defaults and bounds of paging.
const (
	DefaultPageSize = 20
	MaxPageSize     = 100
	maxPage         = 1_000_000
)

// Normalize fills in defaults and clamps what is out of range.
func (q PageQuery) Normalize() PageQuery {
	q.Page = min(max(q.Page, 1), maxPage)
	if q.PageSize == 0 {
		q.PageSize = DefaultPageSize
	}
	q.PageSize = min(max(q.PageSize, 1), MaxPageSize)
	return q
}

// Limit is the page size for SQL.
func (q PageQuery) Limit() int { return q.Normalize().PageSize }

// Offset is the number of items before the page.
func (q PageQuery) Offset() int {
	q = q.Normalize()
	return (q.Page - 1) * q.PageSize
}
