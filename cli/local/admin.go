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
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/bcrypt"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// DevEmail is the development admin.
const DevEmail = "dev@stark.local"

// Account is a user of the project.
type Account struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

// ErrUnknownAdmin is a project that others have set up: nobody here knows how its
// admin signs in.
var ErrUnknownAdmin = errors.New("the project has an admin that this state folder does not know")

// signIn makes the development admin on the first start and signs in.
func (c *Cluster) signIn(ctx context.Context) error {
	begin := time.Now()
	anonymous, err := client.New(client.Config{URL: c.URL})
	if err != nil {
		return err
	}
	acc, err := c.account()
	if err != nil {
		return err
	}
	status, err := anonymous.SetupStatus(ctx)
	if err != nil {
		return err
	}
	how := "signed in"
	if status.NeedsSetup {
		c.Session, err = anonymous.Setup(ctx, api.RegisterRequest{Email: acc.Email, Password: acc.Password, DisplayName: "Developer"})
	} else {
		how, err = c.enter(ctx, anonymous, acc)
	}
	if err != nil {
		return err
	}
	c.Email = c.Session.User.Email
	if c.Email == acc.Email {
		c.Password = acc.Password
	}
	c.Client, err = client.New(client.Config{URL: c.URL, Token: client.StaticToken(c.Session.AccessToken)})
	if err != nil {
		return err
	}
	c.report("you", fmt.Sprintf("%s (%s), %s", c.Email, roleNames(c.Session.User), how), begin, map[string]any{"email": c.Email})
	return nil
}

func roleNames(u api.User) string {
	if slices.Contains(u.Roles, api.RoleAdmin) {
		return string(api.RoleAdmin) // it includes the others
	}
	names := make([]string, len(u.Roles))
	for i, r := range u.Roles {
		names[i] = string(r)
	}
	return strings.Join(names, ", ")
}

// enter signs in where there is an admin already.
func (c *Cluster) enter(ctx context.Context, anonymous *client.Client, acc Account) (how string, err error) {
	c.Session, err = anonymous.Login(ctx, api.LoginRequest{Email: acc.Email, Password: acc.Password})
	if fault.CodeOf(err) != fault.InvalidCredentials || acc == c.o.Account {
		if err != nil {
			err = fmt.Errorf("sign in as %s: %w", acc.Email, err)
		}
		return "signed in", err
	}
	if c.stack != nil {
		if err := c.resetPassword(ctx, acc); err != nil {
			return "", fmt.Errorf("give %s a new password: %w", acc.Email, err)
		}
		c.Session, err = anonymous.Login(ctx, api.LoginRequest{Email: acc.Email, Password: acc.Password})
		return "signed in with a new password", err
	}
	if c.o.KeptSession != nil {
		session, found, keptErr := c.o.KeptSession(ctx, c.URL)
		if keptErr != nil {
			return "", keptErr
		}
		if found {
			c.Session = session
			return "kept sign-in", nil
		}
	}
	return "", fmt.Errorf("%w: %w", ErrUnknownAdmin, err)
}

// resetPassword lets the development admin of the embedded project in again: it
// belongs to the state folder, whose file with the password is lost.
func (c *Cluster) resetPassword(ctx context.Context, acc Account) error {
	hash, err := bcrypt.GenerateFromPassword([]byte(acc.Password), bcrypt.DefaultCost)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, c.Project.DBURL)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // committed or failed
	tag, err := conn.Exec(ctx, `update auth.users set encrypted_password = $2, updated_at = now() where email = $1`, acc.Email, string(hash))
	if err == nil && tag.RowsAffected() == 0 {
		err = errors.New("the state folder has no such account any more")
	}
	return err
}

// account gives the wished account, or the development admin of the state folder,
// or invents one: its password is random and never leaves the folder. A damaged
// file is as good as none.
func (c *Cluster) account() (Account, error) {
	if c.o.Account != (Account{}) {
		return c.o.Account, nil
	}
	path := filepath.Join(c.o.Dir, "dev-admin.json")
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Account{}, err
	}
	var a Account
	if err == nil && json.Unmarshal(data, &a) == nil && a.Email != "" && a.Password != "" {
		return a, nil
	}
	a = Account{Email: DevEmail, Password: inventPassword()}
	if data, err = json.Marshal(a); err != nil {
		return Account{}, err
	}
	if err := os.MkdirAll(c.o.Dir, 0o700); err != nil {
		return Account{}, err
	}
	return a, os.WriteFile(path, append(data, '\n'), 0o600)
}

// inventPassword gives 130 random bits, behind what a policy may ask for: random
// letters alone have no digit once in a few hundred starts.
func inventPassword() string { return "dev-0-" + rand.Text() }

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
