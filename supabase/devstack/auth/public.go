package auth

import (
	"context"
	"net/http"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

func (s *service) health(*http.Request) (answer, error) {
	return answer{status: http.StatusOK, body: map[string]string{
		"version": "devstack", "name": "GoTrue", "description": "GoTrue is a user registration and authentication API",
	}}, nil
}

func (s *service) settings(*http.Request) (answer, error) {
	external := map[string]bool{"anonymous_users": s.Anonymous, "email": true, "phone": false}
	for _, provider := range []string{"apple", "azure", "bitbucket", "discord", "facebook", "figma", "github", "gitlab", "google", "slack"} {
		external[provider] = false
	}
	return answer{status: http.StatusOK, body: map[string]any{
		"external": external, "disable_signup": !s.SignUp, "mailer_autoconfirm": s.AutoConfirm,
		"phone_autoconfirm": false, "sms_provider": "", "saml_enabled": false, "passkeys_enabled": false,
		"saml_allow_encrypted_assertions": false,
	}}, nil
}

// rawJSON is sent as it is.
type rawJSON []byte

// MarshalJSON returns the text itself.
func (j rawJSON) MarshalJSON() ([]byte, error) { return j, nil }

func (s *service) jwks(*http.Request) (answer, error) {
	return answer{
		status: http.StatusOK, body: rawJSON(s.Keys.JWKS()),
		header: http.Header{"Cache-Control": {"public, max-age=600"}},
	}, nil
}

type signUpRequest struct {
	Email    string   `json:"email"`
	Phone    string   `json:"phone"`
	Password string   `json:"password"`
	Data     metadata `json:"data"`
}

func (s *service) signUp(r *http.Request) (answer, error) {
	var body signUpRequest
	if err := decode(r, &body); err != nil {
		return answer{}, err
	}
	ctx := r.Context()
	n, err := s.signUpUser(ctx, body)
	if err != nil {
		return answer{}, err
	}
	var out answer
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		existing, err := lockEmail(ctx, tx, n.email)
		if err != nil {
			return err
		}
		if existing != nil {
			if !s.AutoConfirm {
				// Whether an address is taken is not for strangers to learn: the answer looks like a new user's.
				existing = &user{ID: n.id, Aud: "authenticated", Role: "authenticated", Email: n.email, AppMetadata: n.app, UserMetadata: body.Data}
				out = answer{status: http.StatusOK, body: existing}
				return nil
			}
			return fail(http.StatusUnprocessableEntity, "user_already_exists", "User already registered")
		}
		u, err := insertUser(ctx, tx, n)
		if err != nil {
			return err
		}
		if !n.confirmed && !n.anonymous {
			out = answer{status: http.StatusOK, body: u}
			return nil
		}
		method := "password"
		if n.anonymous {
			method = "anonymous"
		}
		out, err = s.signIn(ctx, tx, r, u, method)
		return err
	})
	return out, err
}

// signUpUser checks a sign-up and prepares the user it asks for.
func (s *service) signUpUser(ctx context.Context, body signUpRequest) (newUser, error) {
	n := newUser{id: uuid.NewString(), role: "authenticated", app: metadata{}, data: metadata{}.merge(body.Data)}
	if !s.SignUp {
		return n, fail(http.StatusUnprocessableEntity, "signup_disabled", "Signups not allowed for this instance")
	}
	if body.Email == "" && body.Phone != "" {
		return n, fail(http.StatusBadRequest, "phone_provider_disabled", "Phone signups are disabled")
	}
	if body.Email == "" {
		if !s.Anonymous {
			return n, fail(http.StatusUnprocessableEntity, "anonymous_provider_disabled", "Anonymous sign-ins are disabled")
		}
		n.anonymous = true
		return n, nil
	}
	if body.Password == "" {
		return n, invalid("Signup requires a valid password")
	}
	if err := s.checkPassword(body.Password); err != nil {
		return n, err
	}
	var err error
	if n.email, err = normalEmail(body.Email); err != nil {
		return n, err
	}
	if n.hash, err = s.hash(ctx, body.Password); err != nil {
		return n, err
	}
	n.confirmed = s.AutoConfirm
	n.app = values(map[string]any{"provider": "email", "providers": []string{"email"}})
	n.data = n.data.merge(values(map[string]any{
		"sub": n.id, "email": n.email, "email_verified": n.confirmed, "phone_verified": false,
	}))
	return n, nil
}

// lockEmail makes sign-ups of one address happen one by one, and finds who has it already.
func lockEmail(ctx context.Context, tx pgx.Tx, email string) (*user, error) {
	if email == "" {
		return nil, nil
	}
	if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock(hashtextextended('auth.users.email:' || $1, 0))", email); err != nil {
		return nil, err
	}
	return findUser(ctx, tx, "email", email)
}

func (s *service) signIn(ctx context.Context, tx pgx.Tx, r *http.Request, u *user, method string) (answer, error) {
	g, err := s.openSession(ctx, tx, r, u, method)
	if err != nil {
		return answer{}, err
	}
	body, err := s.complete(ctx, tx, r, g)
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, body: body, header: g.headers()}, nil
}

func (s *service) token(r *http.Request) (answer, error) {
	if err := s.limiter.check(r, s.now()); err != nil {
		return answer{}, err
	}
	switch r.URL.Query().Get("grant_type") {
	case "password":
		return s.passwordGrant(r)
	case "refresh_token":
		return s.refreshGrant(r)
	default:
		return answer{}, fail(http.StatusBadRequest, "invalid_credentials", "unsupported_grant_type")
	}
}

func (s *service) passwordGrant(r *http.Request) (answer, error) {
	var body struct{ Email, Phone, Password string }
	if err := decode(r, &body); err != nil {
		return answer{}, err
	}
	if body.Email == "" && body.Phone == "" {
		return answer{}, invalid("missing email or phone")
	}
	ctx := r.Context()
	u, err := s.checkCredentials(ctx, body.Email, body.Password)
	if err != nil {
		return answer{}, err
	}
	var out answer
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		out, err = s.signIn(ctx, tx, r, u, "password")
		return err
	})
	if err != nil {
		return answer{}, err
	}
	if session, ok := out.body.(sessionBody); ok {
		full := passwordBody{sessionBody: session}
		if reasons := s.weakness(body.Password); len(reasons) > 0 {
			full.WeakPassword = &weakPassword{Message: "Password is known to be weak", Reasons: reasons}
		}
		out.body = full
	}
	return out, nil
}

// checkCredentials gives one answer to everything that is wrong with a sign-in, until the password is right.
func (s *service) checkCredentials(ctx context.Context, email, password string) (*user, error) {
	wrong := fail(http.StatusBadRequest, "invalid_credentials", "Invalid login credentials")
	address, err := normalEmail(email)
	if err != nil || password == "" {
		return nil, wrong
	}
	u, err := findUser(ctx, s.Pool, "email", address)
	if err != nil {
		return nil, err
	}
	if u == nil {
		return nil, wrong
	}
	if u.banned(s.now()) {
		return nil, fail(http.StatusBadRequest, "user_banned", "User is banned")
	}
	ok, err := s.matches(ctx, u.passwordHash, password)
	if err != nil {
		return nil, err
	}
	if !ok || u.DeletedAt != nil {
		return nil, wrong
	}
	if u.EmailConfirmedAt == nil {
		return nil, fail(http.StatusBadRequest, "email_not_confirmed", "Email not confirmed")
	}
	return u, nil
}

func (s *service) refreshGrant(r *http.Request) (answer, error) {
	var body struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := decode(r, &body); err != nil {
		return answer{}, err
	}
	if len(body.RefreshToken) != tokenLength {
		return answer{}, invalid("Refresh token is not valid")
	}
	var out answer
	ctx := r.Context()
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		g, err := s.refresh(ctx, tx, r, body.RefreshToken)
		if err != nil {
			return err
		}
		session, err := s.complete(ctx, tx, r, g)
		out = answer{status: http.StatusOK, body: session, header: g.headers()}
		return err
	})
	return out, err
}
