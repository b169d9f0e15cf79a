package auth

import (
	"cmp"
	"context"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5"
)

func (s *service) getUser(_ *http.Request, who caller) (answer, error) {
	return answer{status: http.StatusOK, body: who.user}, nil
}

func (s *service) putUser(r *http.Request, who caller) (answer, error) {
	var body struct {
		Email       *string  `json:"email"`
		Password    *string  `json:"password"`
		Data        metadata `json:"data"`
		AppMetadata metadata `json:"app_metadata"`
	}
	if err := decode(r, &body); err != nil {
		return answer{}, err
	}
	ctx := r.Context()
	if body.AppMetadata != nil && !who.admin {
		return answer{}, fail(http.StatusForbidden, "not_admin", "Updating app_metadata requires admin privileges")
	}
	var c change
	if body.Password != nil && who.user.IsAnonymous && (body.Email == nil || *body.Email == "") {
		return answer{}, fail(http.StatusUnprocessableEntity, "validation_failed",
			"Updating password of an anonymous user without an email or phone is not allowed")
	}
	if body.Password != nil {
		hash, err := s.newPassword(ctx, who.user, *body.Password)
		if err != nil {
			return answer{}, err
		}
		c.hash = &hash
	}
	if body.Email != nil && *body.Email != "" {
		email, err := normalEmail(*body.Email)
		if err != nil {
			return answer{}, err
		}
		switch {
		case email == who.user.Email:
		case s.AutoConfirm:
			c.email, c.confirm = &email, true
		default:
			c.wishedEmail = &email // waits for a confirmation, which only an administrator can give here
		}
	}
	var updated *user
	err := s.inTx(ctx, func(tx pgx.Tx) (err error) {
		updated, err = s.saveUser(ctx, tx, who.user.ID, c, body.AppMetadata, body.Data)
		if err == nil && c.hash != nil {
			err = endSessions(ctx, tx, who.user.ID, who.sessionID, "others")
		}
		return err
	})
	return answer{status: http.StatusOK, body: updated}, err
}

// newPassword checks and hashes a password that replaces the one of u.
func (s *service) newPassword(ctx context.Context, u *user, password string) (string, error) {
	if err := s.checkPassword(password); err != nil {
		return "", err
	}
	same, err := s.matches(ctx, u.passwordHash, password)
	if err != nil {
		return "", err
	}
	if same {
		return "", fail(http.StatusUnprocessableEntity, "same_password", "New password should be different from the old password.")
	}
	return s.hash(ctx, password)
}

// saveUser merges the metadata under the row's lock and writes the change. An address that somebody else
// has is refused.
func (s *service) saveUser(ctx context.Context, tx pgx.Tx, id string, c change, app, data metadata) (*user, error) {
	if wanted := cmp.Or(c.email, c.wishedEmail); wanted != nil {
		taken, err := lockEmail(ctx, tx, *wanted)
		if err != nil {
			return nil, err
		}
		if taken != nil && taken.ID != id {
			return nil, emailExists()
		}
	}
	if _, err := tx.Exec(ctx, "select from auth.users where id = $1 for update", id); err != nil {
		return nil, fmt.Errorf("lock user: %w", err)
	}
	current, err := findUser(ctx, tx, "id", id)
	if err != nil {
		return nil, err
	}
	if current == nil {
		return nil, fail(http.StatusNotFound, "user_not_found", "User not found")
	}
	if app != nil {
		c.app = current.AppMetadata.merge(app)
	}
	if data != nil {
		c.data = current.UserMetadata.merge(data)
	}
	return c.apply(ctx, tx, id)
}

func emailExists() error {
	return fail(http.StatusUnprocessableEntity, "email_exists", "A user with this email address has already been registered")
}

func (s *service) logout(r *http.Request, who caller) (answer, error) {
	scope := r.URL.Query().Get("scope")
	switch scope {
	case "":
		scope = "global"
	case "global", "local", "others":
	default:
		return answer{}, invalid("Unsupported logout scope \"" + scope + "\"")
	}
	ctx := r.Context()
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		return endSessions(ctx, tx, who.user.ID, who.sessionID, scope)
	})
	return answer{status: http.StatusNoContent}, err
}

// endSessions removes sessions of a user and with them their refresh tokens. A token without a session
// stands for all of them.
func endSessions(ctx context.Context, tx pgx.Tx, userID, sessionID, scope string) error {
	sql, args := "delete from auth.sessions where user_id = $1", []any{userID}
	if sessionID != "" && scope != "global" {
		args = append(args, sessionID)
		sql += map[string]string{"local": " and id = $2", "others": " and id <> $2"}[scope]
	}
	if _, err := tx.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("end sessions: %w", err)
	}
	return nil
}
