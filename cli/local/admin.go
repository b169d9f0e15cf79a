package local

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

// DevEmail is the development admin.
const DevEmail = "dev@stark.local"

// account is what the state folder keeps of the development admin.
type account struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

// signIn makes the development admin on the first start and signs in.
func (c *Cluster) signIn(ctx context.Context) error {
	begin := time.Now()
	anonymous, err := client.New(client.Config{URL: c.URL})
	if err != nil {
		return err
	}
	acc, err := loadAccount(c.o.Dir)
	if err != nil {
		return err
	}
	c.Email, c.Password = acc.Email, acc.Password
	status, err := anonymous.SetupStatus(ctx)
	if err != nil {
		return err
	}
	if status.NeedsSetup {
		c.Session, err = anonymous.Setup(ctx, api.RegisterRequest{Email: acc.Email, Password: acc.Password, DisplayName: "Developer"})
	} else {
		c.Session, err = anonymous.Login(ctx, api.LoginRequest{Email: acc.Email, Password: acc.Password})
	}
	if err != nil {
		return fmt.Errorf("sign in as %s: %w", acc.Email, err)
	}
	c.Client, err = client.New(client.Config{URL: c.URL, Token: client.StaticToken(c.Session.AccessToken)})
	if err != nil {
		return err
	}
	c.report("you", acc.Email+" (admin), signed in", begin, map[string]any{"email": acc.Email})
	return nil
}

// loadAccount reads the development admin, or invents one: its password is
// random and never leaves the state folder.
func loadAccount(dir string) (account, error) {
	path := filepath.Join(dir, "dev-admin.json")
	data, err := os.ReadFile(path)
	if err == nil {
		var a account
		if err := json.Unmarshal(data, &a); err != nil {
			return account{}, fmt.Errorf("%s: %w", path, err)
		}
		return a, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return account{}, err
	}
	// rand.Text has upper case and digits; the policy asks for lower case too.
	a := account{Email: DevEmail, Password: "dev-" + rand.Text()}
	if data, err = json.Marshal(a); err != nil {
		return account{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return account{}, err
	}
	return a, os.WriteFile(path, append(data, '\n'), 0o600)
}

func portOf(address string) int {
	u, err := url.Parse(address)
	if err != nil {
		return 0
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		return 0
	}
	return port
}
