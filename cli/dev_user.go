package cli

import (
	"context"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// keepSession makes other commands of this user talk to the cluster, as long as
// it runs. One that ends by itself takes nobody along.
func (d *dev) keepSession(ctx context.Context) error {
	a := d.app
	store := a.home.credentials()
	if err := store.put(ctx, d.cluster.URL, d.cluster.Session); err != nil {
		return err
	}
	if !d.flags.once {
		before := a.settings
		a.settings.APIURL = d.cluster.URL
		if err := a.home.write(settingsFile, a.settings); err != nil {
			return err
		}
		if before.APIURL != d.cluster.URL {
			d.chosen = before.APIURL
		}
	}
	var err error
	d.client, err = client.New(client.Config{
		URL: d.cluster.URL, Token: &session{store: store, url: d.cluster.URL}, UserAgent: userAgent(),
	})
	return err
}

// giveBack lets the user's commands talk to the server of before, unless somebody
// has chosen another one meanwhile. The sign-in stays where the next start may
// have the same address.
func (d *dev) giveBack(ctx context.Context) error {
	a, url := d.app, d.cluster.URL
	now, err := a.home.loadSettings()
	if err != nil {
		return err
	}
	if !d.flags.once && now.APIURL == url {
		now.APIURL = d.chosen
		if err := a.home.write(settingsFile, now); err != nil {
			return err
		}
	}
	if d.flags.port == 0 {
		return a.home.credentials().remove(ctx, url)
	}
	return nil
}

// keptSession gives the sign-in that earlier commands have left for a server.
func (a *app) keptSession(ctx context.Context, url string) (api.Session, bool, error) {
	store := a.home.credentials()
	if _, found, err := store.get(url); err != nil || !found {
		return api.Session{}, false, err
	}
	token, err := (&session{store: store, url: url}).Token(ctx)
	if fault.CodeOf(err) == fault.AuthenticationRequired {
		return api.Session{}, false, nil // it has ended
	}
	if err != nil {
		return api.Session{}, false, err
	}
	c, err := client.New(client.Config{URL: url, Token: client.StaticToken(token), UserAgent: userAgent()})
	if err != nil {
		return api.Session{}, false, err
	}
	user, err := c.Whoami(ctx)
	if exitCode(err) == exitNotAllowed {
		return api.Session{}, false, nil // of another project at the same address
	}
	if err != nil {
		return api.Session{}, false, err
	}
	l, found, err := store.get(url)
	return api.Session{User: user, AccessToken: token, RefreshToken: l.RefreshToken, ExpiresAt: l.ExpiresAt}, found, err
}
