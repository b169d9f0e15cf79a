package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// tokenLength is the length of a refresh token.
const tokenLength = 12

// newRefreshToken makes 12 lower-case letters and digits, 60 bits.
func newRefreshToken() string { return strings.ToLower(rand.Text()[:tokenLength]) }

// grant is a successful sign-in or refresh on its way to the caller.
type grant struct {
	user         *user
	sessionID    string
	refreshToken string
	method       string // for the hook: password, token_refresh, anonymous
	reused       *bool  // set on a refresh
}

// sessionBody is what /token and /signup answer.
type sessionBody struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	ExpiresAt    int64  `json:"expires_at"`
	RefreshToken string `json:"refresh_token"`
	User         *user  `json:"user"`
}

// passwordBody adds what the password grant alone tells.
type passwordBody struct {
	sessionBody
	WeakPassword *weakPassword `json:"weak_password"`
}

type weakPassword struct {
	Message string   `json:"message"`
	Reasons []string `json:"reasons"`
}

// openSession records a sign-in and returns the grant; the access token is still to be made.
func (s *service) openSession(ctx context.Context, tx pgx.Tx, r *http.Request, u *user, method string) (grant, error) {
	g := grant{user: u, sessionID: uuid.NewString(), refreshToken: newRefreshToken(), method: method}
	batch := &pgx.Batch{}
	batch.Queue(`insert into auth.sessions (id, user_id, aal, user_agent, ip, created_at, updated_at)
		values ($1, $2, 'aal1', $3, $4::inet, now(), now())`, g.sessionID, u.ID, userAgent(r), remoteIP(r))
	batch.Queue(`insert into auth.mfa_amr_claims (id, session_id, authentication_method, created_at, updated_at)
		values ($1, $2, $3, now(), now())`, uuid.NewString(), g.sessionID, method)
	batch.Queue(`insert into auth.refresh_tokens (instance_id, token, user_id, revoked, session_id, created_at, updated_at)
		values ('00000000-0000-0000-0000-000000000000', $1, $2, false, $3, now(), now())`, g.refreshToken, u.ID, g.sessionID)
	batch.Queue(`update auth.users set last_sign_in_at = now(), updated_at = now() where id = $1`, u.ID)
	batch.Queue(`update auth.identities set last_sign_in_at = now(), updated_at = now() where user_id = $1`, u.ID)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return grant{}, fmt.Errorf("open session: %w", err)
	}
	var err error
	g.user, err = mustFindUser(ctx, tx, u.ID)
	return g, err
}

// complete makes the access token, inside the transaction that made the session: a hook sees its rows, and
// a hook that fails leaves none.
func (s *service) complete(ctx context.Context, tx pgx.Tx, r *http.Request, g grant) (sessionBody, error) {
	now := s.now()
	methods, err := amr(ctx, tx, g.sessionID)
	if err != nil {
		return sessionBody{}, err
	}
	claims := map[string]any{
		"iss": s.Issuer, "sub": g.user.ID, "aud": g.user.Aud,
		"exp": now.Add(s.TokenLife).Unix(), "iat": now.Unix(),
		"email": g.user.Email, "phone": g.user.Phone,
		"app_metadata": g.user.AppMetadata, "user_metadata": g.user.UserMetadata,
		"role": g.user.Role, "aal": "aal1", "amr": methods,
		"session_id": g.sessionID, "is_anonymous": g.user.IsAnonymous,
	}
	if len(s.Hook) > 0 {
		if claims, err = s.runHook(ctx, tx, r, g, claims); err != nil {
			return sessionBody{}, err
		}
		// GoTrue's first token after a start has a list here. Whoever reads tokens has to bear both.
		if aud, isText := claims["aud"].(string); isText && s.hooked.CompareAndSwap(false, true) {
			claims["aud"] = []string{aud}
		}
	}
	access, err := s.Keys.Sign(claims)
	if err != nil {
		return sessionBody{}, err
	}
	return sessionBody{
		AccessToken: access, TokenType: "bearer",
		ExpiresIn: int64(s.TokenLife / time.Second), ExpiresAt: now.Add(s.TokenLife).Unix(),
		RefreshToken: g.refreshToken, User: g.user,
	}, nil
}

// method is one entry of the claim amr.
type method struct {
	Method    string `json:"method"`
	Timestamp int64  `json:"timestamp"`
}

func amr(ctx context.Context, tx pgx.Tx, sessionID string) ([]method, error) {
	rows, err := tx.Query(ctx, `
		select authentication_method, extract(epoch from created_at)::bigint
		from auth.mfa_amr_claims where session_id = $1 order by created_at desc`, sessionID)
	if err != nil {
		return nil, fmt.Errorf("read the methods of a session: %w", err)
	}
	methods, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (method, error) {
		var m method
		err := row.Scan(&m.Method, &m.Timestamp)
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the methods of a session: %w", err)
	}
	return methods, nil
}

func (g grant) headers() http.Header {
	h := http.Header{}
	h.Set("Sb-Auth-User-Id", g.user.ID)
	h.Set("Sb-Auth-Session-Id", g.sessionID)
	h.Set("Sb-Auth-Refresh-Token-Prefix", g.refreshToken[:5])
	if g.reused != nil {
		h.Set("Sb-Auth-Refresh-Token-Reuse", strconv.FormatBool(*g.reused))
	}
	return h
}

func sessionExists(ctx context.Context, q querier, id, userID string) (bool, error) {
	rows, err := q.Query(ctx, "select exists (select from auth.sessions where id = $1 and user_id = $2)", id, userID)
	if err != nil {
		return false, fmt.Errorf("find session: %w", err)
	}
	exists, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[bool])
	if err != nil {
		return false, fmt.Errorf("find session: %w", err)
	}
	return exists, nil
}

// refreshRow is the refresh token that a caller shows.
type refreshRow struct {
	token, sessionID, userID string
	revoked                  bool
	updatedAt                time.Time
}

// refresh trades a refresh token for the next one. Used tokens are honoured in two cases: the active token
// is their child (the answer got lost), or they were used moments ago (two tabs). Anything later looks like
// theft and ends the family.
func (s *service) refresh(ctx context.Context, tx pgx.Tx, r *http.Request, token string) (grant, error) {
	row, err := lockRefresh(ctx, tx, token)
	if err != nil {
		return grant{}, err
	}
	u, err := mustFindUser(ctx, tx, row.userID)
	if err != nil {
		return grant{}, err
	}
	if u.banned(s.now()) {
		return grant{}, fail(http.StatusBadRequest, "user_banned", "Invalid Refresh Token: User Banned")
	}
	issued, err := s.nextToken(ctx, tx, row)
	if err != nil {
		return grant{}, err
	}
	_, err = tx.Exec(ctx, `
		update auth.sessions set refreshed_at = now() at time zone 'utc', updated_at = now(), user_agent = $2, ip = $3::inet
		where id = $1`, row.sessionID, userAgent(r), remoteIP(r))
	if err != nil {
		return grant{}, fmt.Errorf("touch session: %w", err)
	}
	return grant{user: u, sessionID: row.sessionID, refreshToken: issued, method: "token_refresh", reused: &row.revoked}, nil
}

// lockRefresh finds the token and locks its session, so that refreshes of one session happen one by one.
func lockRefresh(ctx context.Context, tx pgx.Tx, token string) (refreshRow, error) {
	unknown := fail(http.StatusBadRequest, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
	row := refreshRow{token: token}
	err := tx.QueryRow(ctx, `
		select s.id::text, s.user_id::text from auth.sessions s
		where s.id = (select session_id from auth.refresh_tokens where token = $1) for update`, token).
		Scan(&row.sessionID, &row.userID)
	if errors.Is(err, pgx.ErrNoRows) {
		return row, unknown
	}
	if err != nil {
		return row, fmt.Errorf("find refresh token: %w", err)
	}
	// Read again under the lock: another refresh may just have used the token.
	err = tx.QueryRow(ctx, "select coalesce(revoked, false), updated_at from auth.refresh_tokens where token = $1", token).
		Scan(&row.revoked, &row.updatedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return row, unknown
	}
	if err != nil {
		return row, fmt.Errorf("read refresh token: %w", err)
	}
	return row, nil
}

func (s *service) nextToken(ctx context.Context, tx pgx.Tx, row refreshRow) (string, error) {
	if !s.Rotate {
		return row.token, nil
	}
	if row.revoked {
		active, parent, err := activeToken(ctx, tx, row.sessionID)
		if err != nil {
			return "", err
		}
		if active != "" && parent == row.token {
			return active, nil
		}
		if s.now().After(row.updatedAt.Add(s.ReuseInterval)) {
			return "", endFamily(ctx, tx, row.sessionID)
		}
	}
	next := newRefreshToken()
	batch := &pgx.Batch{}
	// clock_timestamp, as the transaction may have waited for the lock for a while.
	batch.Queue(`update auth.refresh_tokens set revoked = true, updated_at = clock_timestamp() where token = $1`, row.token)
	batch.Queue(`insert into auth.refresh_tokens (instance_id, token, user_id, revoked, parent, session_id, created_at, updated_at)
		values ('00000000-0000-0000-0000-000000000000', $1, $2, false, $3, $4, now(), now())`,
		next, row.userID, row.token, row.sessionID)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return "", fmt.Errorf("rotate refresh token: %w", err)
	}
	return next, nil
}

func activeToken(ctx context.Context, tx pgx.Tx, sessionID string) (token, parent string, err error) {
	err = tx.QueryRow(ctx, `
		select token, coalesce(parent, '') from auth.refresh_tokens
		where session_id = $1 and revoked is false order by id desc limit 1`, sessionID).Scan(&token, &parent)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", "", nil
	}
	if err != nil {
		return "", "", fmt.Errorf("find active refresh token: %w", err)
	}
	return token, parent, nil
}

// endFamily revokes what is left of a family. Its newest token stays usable for the reuse interval, since
// revoking touches updated_at; GoTrue does the same.
func endFamily(ctx context.Context, tx pgx.Tx, sessionID string) error {
	_, err := tx.Exec(ctx, `
		update auth.refresh_tokens set revoked = true, updated_at = now() where session_id = $1 and revoked is false`, sessionID)
	if err != nil {
		return fmt.Errorf("revoke family: %w", err)
	}
	return &keepError{fail(http.StatusBadRequest, "refresh_token_already_used", "Invalid Refresh Token: Already Used")}
}

// userAgent is bounded, as the header is the caller's.
func userAgent(r *http.Request) string {
	agent := strings.ToValidUTF8(strings.ReplaceAll(r.UserAgent(), "\x00", ""), "")
	return agent[:min(len(agent), 500)]
}
