package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/bcrypt"
)

const (
	defaultPage = 50
	largestPage = 100_000
)

type adminRequest struct {
	ID           string   `json:"id"`
	Role         string   `json:"role"`
	Email        string   `json:"email"`
	Phone        string   `json:"phone"`
	Password     *string  `json:"password"`
	PasswordHash string   `json:"password_hash"`
	EmailConfirm bool     `json:"email_confirm"`
	AppMetadata  metadata `json:"app_metadata"`
	UserMetadata metadata `json:"user_metadata"`
	BanDuration  string   `json:"ban_duration"`
}

// ban reads ban_duration: "none" lifts a ban, a duration such as "24h" sets one.
func (a adminRequest) ban(now time.Time) (until *time.Time, lift bool, err error) {
	switch a.BanDuration {
	case "":
		return nil, false, nil
	case "none":
		return nil, true, nil
	}
	d, err := time.ParseDuration(a.BanDuration)
	if err != nil || d < 0 {
		return nil, false, invalid("invalid format for ban duration")
	}
	return new(now.Add(d)), false, nil
}

func (s *service) adminCreate(r *http.Request) (answer, error) {
	var body adminRequest
	if err := decode(r, &body); err != nil {
		return answer{}, err
	}
	ctx := r.Context()
	n, err := s.adminUser(ctx, body)
	if err != nil {
		return answer{}, err
	}
	var created *user
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		taken, err := lockEmail(ctx, tx, n.email)
		if err != nil {
			return err
		}
		if taken != nil {
			return emailExists()
		}
		if taken, err = findUser(ctx, tx, "id", n.id); err != nil {
			return err
		}
		if taken != nil {
			return fail(http.StatusConflict, "conflict", "A user with this id exists already")
		}
		created, err = insertUser(ctx, tx, n)
		return err
	})
	return answer{status: http.StatusOK, body: created}, err
}

func (s *service) adminUser(ctx context.Context, body adminRequest) (newUser, error) {
	n := newUser{id: body.ID, role: body.Role, confirmed: body.EmailConfirm}
	if n.id == "" {
		n.id = uuid.NewString()
	} else if uuid.Validate(n.id) != nil || n.id == uuid.Nil.String() {
		return n, invalid("ID must conform to the uuid v4 format")
	}
	if n.role == "" {
		n.role = "authenticated"
	}
	if body.Email == "" {
		if body.Phone != "" {
			return n, fail(http.StatusBadRequest, "phone_provider_disabled", "Unsupported phone provider")
		}
		return n, invalid("Cannot create a user without either an email or phone")
	}
	var err error
	if n.email, err = normalEmail(body.Email); err != nil {
		return n, err
	}
	if n.hash, err = s.adminPassword(ctx, body); err != nil {
		return n, err
	}
	n.app = values(map[string]any{"provider": "email", "providers": []string{"email"}}).merge(body.AppMetadata)
	n.data = metadata{}.merge(body.UserMetadata)
	if n.confirmed {
		n.data = n.data.merge(values(map[string]any{"email_verified": true}))
	}
	n.bannedUntil, _, err = body.ban(s.now())
	return n, err
}

// adminPassword applies no policy, as GoTrue does not when an administrator makes a user.
func (s *service) adminPassword(ctx context.Context, body adminRequest) (string, error) {
	if body.PasswordHash != "" {
		if body.Password != nil {
			return "", invalid("Only a password or a password hash should be provided")
		}
		if cost, err := bcrypt.Cost([]byte(body.PasswordHash)); err != nil || cost > 14 {
			return "", invalid("The password hash is not a bcrypt hash of bearable cost")
		}
		return body.PasswordHash, nil
	}
	if body.Password == nil || *body.Password == "" {
		return s.hash(ctx, randomPassword())
	}
	return s.hash(ctx, *body.Password)
}

// target is the user that an admin path names.
func (s *service) target(r *http.Request) (*user, error) {
	id := r.PathValue("id")
	if uuid.Validate(id) != nil {
		return nil, fail(http.StatusNotFound, "validation_failed", "user_id must be an UUID")
	}
	found, err := findUser(r.Context(), s.Pool, "id", id)
	if err == nil && found == nil {
		return nil, fail(http.StatusNotFound, "user_not_found", "User not found")
	}
	return found, err
}

func (s *service) adminGet(r *http.Request) (answer, error) {
	found, err := s.target(r)
	return answer{status: http.StatusOK, body: found}, err
}

func (s *service) adminUpdate(r *http.Request) (answer, error) {
	current, err := s.target(r)
	if err != nil {
		return answer{}, err
	}
	var body adminRequest
	if err := decode(r, &body); err != nil {
		return answer{}, err
	}
	ctx := r.Context()
	c := change{confirm: body.EmailConfirm}
	if c.bannedUntil, c.unban, err = body.ban(s.now()); err != nil {
		return answer{}, err
	}
	if body.Role != "" {
		c.role = &body.Role
	}
	if body.Email != "" {
		email, err := normalEmail(body.Email)
		if err != nil {
			return answer{}, err
		}
		c.email = &email
	}
	if body.Password != nil {
		if err := s.checkPassword(*body.Password); err != nil {
			return answer{}, err
		}
		hash, err := s.hash(ctx, *body.Password)
		if err != nil {
			return answer{}, err
		}
		c.hash = &hash
	}
	var updated *user
	err = s.inTx(ctx, func(tx pgx.Tx) (err error) {
		updated, err = s.saveUser(ctx, tx, current.ID, c, body.AppMetadata, body.UserMetadata)
		if err == nil && c.hash != nil {
			err = endSessions(ctx, tx, current.ID, "", "global")
		}
		return err
	})
	return answer{status: http.StatusOK, body: updated}, err
}

func (s *service) adminDelete(r *http.Request) (answer, error) {
	ctx := r.Context()
	found, err := s.target(r)
	if err != nil {
		return answer{}, err
	}
	var body struct {
		Soft bool `json:"should_soft_delete"`
	}
	text, err := readBody(r)
	if err != nil {
		return answer{}, err
	}
	if len(text) > 0 {
		if err := unmarshal(text, &body); err != nil {
			return answer{}, err
		}
	}
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		if body.Soft {
			return softDelete(ctx, tx, found)
		}
		tag, err := tx.Exec(ctx, "delete from auth.users where id = $1", found.ID)
		if err != nil {
			return fmt.Errorf("delete user: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return fail(http.StatusNotFound, "user_not_found", "User not found")
		}
		return nil
	})
	return answer{status: http.StatusOK, body: struct{}{}}, err
}

// softDelete keeps the row but nothing that tells who it was.
func softDelete(ctx context.Context, tx pgx.Tx, u *user) error {
	sum := sha256.Sum256([]byte(u.ID + u.Email))
	batch := &pgx.Batch{}
	batch.Queue(`update auth.users set email = $2, encrypted_password = '', raw_user_meta_data = '{}', raw_app_meta_data = '{}',
		  email_change = '', email_change_sent_at = null, deleted_at = coalesce(deleted_at, now()), updated_at = now() where id = $1`,
		u.ID, base64.RawURLEncoding.EncodeToString(sum[:]))
	batch.Queue(`delete from auth.identities where user_id = $1`, u.ID)
	batch.Queue(`delete from auth.sessions where user_id = $1`, u.ID)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("soft delete user: %w", err)
	}
	return nil
}

// page reads page and per_page, both from 1; page 0 counts as the first.
func page(query url.Values) (number, size int, err error) {
	number, size = 1, defaultPage
	for name, into := range map[string]*int{"page": &number, "per_page": &size} {
		if text := query.Get(name); text != "" {
			n, err := strconv.ParseUint(text, 10, 31)
			if err != nil {
				return 0, 0, invalid("Bad Pagination Parameters: " + name + " is not a number")
			}
			*into = int(n)
		}
	}
	if size == 0 {
		size = defaultPage
	}
	return max(number, 1), min(size, largestPage), nil
}

func (s *service) adminList(r *http.Request) (answer, error) {
	number, size, err := page(r.URL.Query())
	if err != nil {
		return answer{}, err
	}
	escape := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`, "\x00", "")
	like := "%" + escape.Replace(strings.ToValidUTF8(r.URL.Query().Get("filter"), "")) + "%"
	const where = ` where ($1 = '%%' or email ilike $1 or raw_user_meta_data ->> 'full_name' ilike $1)`
	var total int
	if err := s.Pool.QueryRow(r.Context(), "select count(*) from auth.users"+where, like).Scan(&total); err != nil {
		return answer{}, fmt.Errorf("count users: %w", err)
	}
	rows, err := s.Pool.Query(r.Context(), selectUser+where+" order by created_at desc, id limit $2 offset $3",
		like, size, int64(number-1)*int64(size))
	if err != nil {
		return answer{}, fmt.Errorf("list users: %w", err)
	}
	users, err := pgx.CollectRows(rows, scanUser)
	if err != nil {
		return answer{}, fmt.Errorf("list users: %w", err)
	}
	header := http.Header{"X-Total-Count": {strconv.Itoa(total)}, "Link": {links(r.URL, number, size, total)}}
	return answer{status: http.StatusOK, body: map[string]any{"users": users, "aud": "authenticated"}, header: header}, nil
}

// links is the header that leads to the next and the last page.
func links(at *url.URL, number, size, total int) string {
	last := max((total+size-1)/size, 1)
	link := func(page int, rel string) string {
		query := at.Query()
		query.Set("page", strconv.Itoa(page))
		query.Set("per_page", strconv.Itoa(size))
		return fmt.Sprintf("<%s?%s>; rel=%q", at.Path, query.Encode(), rel)
	}
	if number < last {
		return link(number+1, "next") + ", " + link(last, "last")
	}
	return link(last, "last")
}
