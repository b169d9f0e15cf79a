package cli

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
)

func (a *app) nodeTokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "token", Aliases: []string{"tokens"}, Short: "Make and revoke tokens by which machines join as nodes",
		Example: "  stark node token create --uses 3 --ttl 1h\n  stark node token list",
	}
	cmd.AddCommand(a.tokenCreateCommand(), a.tokenListCommand(), a.tokenRevokeCommand())
	return cmd
}

func tokenView() view[api.JoinToken] {
	return view[api.JoinToken]{
		kind: "token", id: func(t api.JoinToken) string { return t.ID }, empty: "no join tokens",
		columns: []column[api.JoinToken]{
			{"ID", func(t api.JoinToken) string { return t.ID }},
			{"USES LEFT", func(t api.JoinToken) string { return strconv.Itoa(t.Uses) }},
			{statusColumn, func(t api.JoinToken) string { return string(t.State) }},
			{"EXPIRES", func(t api.JoinToken) string { return t.ExpiresAt.Local().Format(time.DateTime) }},
			{"LABELS", func(t api.JoinToken) string { return pairs(t.Labels) }},
			{"AGE", func(t api.JoinToken) string { return age(t.CreatedAt) }},
		},
	}
}

func (a *app) tokenCreateCommand() *cobra.Command {
	var r api.CreateJoinTokenRequest
	var ttl time.Duration
	var labels, taints []string
	cmd := &cobra.Command{
		Use: "create", Short: "Make a join token; it is shown this once",
		Example: "  stark node token create\n  stark node token create --uses 3 --ttl 24h -l zone=a",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if r.Labels, err = parsePairs("--label", labels); err != nil {
				return err
			}
			if r.Taints, err = parseTaints(taints); err != nil {
				return err
			}
			r.TTLSeconds = int(ttl / time.Second)
			if err := r.Validate(); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			t, err := c.CreateJoinToken(cmd.Context(), r)
			if err != nil {
				return err
			}
			return printOne(a, tokenView(), t, func(w io.Writer) {
				fmt.Fprintf(w, "%s\n\nfor %s, until %s; it is not shown again. On the new node:\n", t.Token, plural(t.Uses, "registration"), t.ExpiresAt.Local().Format(time.DateTime))
				fmt.Fprintf(w, "  STARK_JOIN_TOKEN=%s stark node agent start --url %s\n", t.Token, a.apiURL())
			})
		},
	}
	f := cmd.Flags()
	f.IntVar(&r.Uses, "uses", 1, "how many nodes may join by it, 1 to 1000")
	f.DurationVar(&ttl, "ttl", time.Hour, "how long it is good, 1m to 168h")
	f.StringArrayVarP(&labels, "label", "l", nil, "label key=value that the nodes get (repeatable)")
	f.StringArrayVar(&taints, "taint", nil, "taint key[=value]:Effect that the nodes get (repeatable)")
	return cmd
}

func (a *app) tokenListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List join tokens and whether they can still be used, without their secrets", Example: "  stark node token list",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			tokens, err := c.ListJoinTokens(cmd.Context())
			if err != nil {
				return err
			}
			return printList(a, tokenView(), tokens)
		},
	}
}

func (a *app) tokenRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke <id>", Aliases: []string{"delete", "rm"}, Short: "Revoke a join token; nodes that joined by it stay",
		Example: "  stark node token revoke 0199f3a2-7c1e-7d3a-9a52-3f1d2f7f0a11", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := c.RevokeJoinToken(cmd.Context(), args[0]); err != nil {
				return err
			}
			return a.done(map[string]any{"revoked": args[0]}, "revoked %s", args[0])
		},
	}
}
