package cli

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"rsc.io/qr"

	"github.com/stark-orchestrator/stark/shared/api"
)

// quietZone is the margin around a code, in modules, without which readers do not find it.
const quietZone = 4

// invitation is a link that makes a browser tab a node.
type invitation struct {
	Link      string    `json:"link"` // holds the join token behind the #, which browsers do not send
	TokenID   string    `json:"tokenId"`
	Uses      int       `json:"uses"`
	ExpiresAt time.Time `json:"expiresAt"`
	File      string    `json:"file,omitempty"`
}

func (a *app) nodeInviteCommand() *cobra.Command {
	var r api.CreateJoinTokenRequest
	var ttl time.Duration
	var labels, taints []string
	var file, address string
	cmd := &cobra.Command{
		Use: "invite", Short: "Make a link and a QR code by which a browser tab joins as a node",
		Long: `Make a link, and a QR code of it, by which a browser tab joins as a node. The join
token stands behind the # of the link, which browsers send to nobody. Whoever opens
it is asked before anything runs.`,
		Example: "  stark node invite\n  stark node invite --uses 20 --ttl 2h --file invitation.png\n  stark node invite --url https://stark.example.org",
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
			page, err := pageOf(address, a.apiURL())
			if err != nil {
				return err
			}
			if ext := strings.ToLower(filepath.Ext(file)); file != "" && ext != ".png" && ext != ".svg" {
				return fmt.Errorf("--file %s: the name must end in .png or .svg", file)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			t, err := c.CreateJoinToken(cmd.Context(), r)
			if err != nil {
				return err
			}
			return a.showInvitation(page, t, file)
		},
	}
	f := cmd.Flags()
	f.IntVar(&r.Uses, "uses", 1, "how many tabs may join by it, 1 to 1000")
	f.DurationVar(&ttl, "ttl", time.Hour, "how long it is good, 1m to 168h")
	f.StringArrayVarP(&labels, "label", "l", nil, "label key=value that the nodes get (repeatable)")
	f.StringArrayVar(&taints, "taint", nil, "taint key[=value]:Effect that the nodes get (repeatable)")
	f.StringVar(&address, "url", "", "address of the server as the tabs reach it (default: that of --api-url)")
	f.StringVar(&file, "file", "", "write the QR code to this file too, .png or .svg")
	return cmd
}

// pageOf gives the address of the page of tabs.
func pageOf(given, fallback string) (*url.URL, error) {
	if given == "" {
		given = fallback
	}
	u, err := url.Parse(given)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("--url %q: want the address of the server, such as https://stark.example.org", given)
	}
	return u.JoinPath("node"), nil
}

func (a *app) showInvitation(page *url.URL, t api.JoinToken, file string) error {
	inv := invitation{Link: page.String() + "#" + t.Token, TokenID: t.ID, Uses: t.Uses, ExpiresAt: t.ExpiresAt, File: file}
	code, err := qr.Encode(inv.Link, qr.L)
	if err != nil {
		return fmt.Errorf("make the QR code: %w", err)
	}
	if file != "" {
		if err := writeCode(file, code); err != nil {
			return err
		}
	}
	v := view[invitation]{kind: "link", id: func(i invitation) string { return i.Link }}
	return printOne(a, v, inv, func(w io.Writer) {
		fmt.Fprintf(w, "%s\n\nfor %s, until %s; it is not shown again. Revoke it with `stark node token revoke %s`.\n",
			inv.Link, plural(t.Uses, "tab"), t.ExpiresAt.Local().Format(time.DateTime), t.ID)
		if page.Scheme == "http" && !loopback(page.Hostname()) {
			fmt.Fprintln(w, "Browsers let a tab be a node over https:// or on their own machine only: --url gives the address to put into the link.")
		}
		fmt.Fprintf(w, "\n%s", blocks(code))
	})
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// blocks draws a code with two modules a character, light on dark as terminals mostly
// are: readers take both.
func blocks(code *qr.Code) string {
	var b strings.Builder
	for y := -quietZone; y < code.Size+quietZone; y += 2 {
		for x := -quietZone; x < code.Size+quietZone; x++ {
			switch top, bottom := !code.Black(x, y), y+1 < code.Size+quietZone && !code.Black(x, y+1); {
			case top && bottom:
				b.WriteRune('█')
			case top:
				b.WriteRune('▀')
			case bottom:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// writeCode keeps a code in a file that only its owner reads: the token is in it.
func writeCode(file string, code *qr.Code) error {
	content := code.PNG()
	if strings.EqualFold(filepath.Ext(file), ".svg") {
		content = svg(code)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return fmt.Errorf("write the QR code: %w", err)
	}
	return nil
}

func svg(code *qr.Code) []byte {
	var path strings.Builder
	for y := range code.Size {
		for x := range code.Size {
			if code.Black(x, y) {
				fmt.Fprintf(&path, "M%d %dh1v1h-1z", x, y)
			}
		}
	}
	size := code.Size + 2*quietZone
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="%d %d %d %d" shape-rendering="crispEdges"><rect x="%[1]d" y="%[2]d" width="%[3]d" height="%[4]d" fill="#fff"/><path d="%s"/></svg>`+"\n",
		-quietZone, -quietZone, size, size, path.String())
}
