package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
)

// paging is the flags of a list. Without any, all pages are shown up to a bound.
type paging struct {
	page  int
	limit int
}

// maxListed bounds a list that was asked for without paging.
const maxListed = 1000

func (p *paging) flags(cmd *cobra.Command) {
	cmd.Flags().IntVarP(&p.page, "page", "p", 0, "show only this page, counted from 1")
	cmd.Flags().IntVar(&p.limit, "limit", 0, fmt.Sprintf("items per page, at most %d", api.MaxPageSize))
}

// check refuses what the server would clamp without a word.
func (p *paging) check() error {
	if p.page < 0 || p.limit < 0 || p.limit > api.MaxPageSize {
		return usagef("--page counts from 1, --limit from 1 to %d", api.MaxPageSize)
	}
	return nil
}

// collect reads the wanted page, or all of them.
func collect[T any](p paging, read func(api.PageQuery) (api.Page[T], error)) (items []T, total int, err error) {
	if err := p.check(); err != nil {
		return nil, 0, err
	}
	if p.page > 0 || p.limit > 0 {
		page, err := read(api.PageQuery{Page: max(p.page, 1), PageSize: p.limit})
		return page.Items, page.Total, err
	}
	for number := 1; len(items) < maxListed; number++ {
		page, err := read(api.PageQuery{Page: number, PageSize: api.MaxPageSize})
		if err != nil {
			return nil, 0, err
		}
		items, total = append(items, page.Items...), page.Total
		if len(page.Items) < api.MaxPageSize || len(items) >= total {
			break
		}
	}
	return items, total, nil
}

// more says on stderr that there is more than is shown.
func (a *app) more(shown, offset, total int, flag string) {
	if offset+shown < total && a.format() == formatTable {
		fmt.Fprintf(a.stderr, "%d of %d shown: see the others with %s\n", shown, total, flag)
	}
}
