package api

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/stark-orchestrator/stark/shared/fault"
)

const (
	minPassword = 8
	maxPassword = 72 // what bcrypt takes in, in bytes
	maxEmail    = 254
)

// Validate trims and lower-cases the e-mail address and reports every fault.
func (r *RegisterRequest) Validate() error {
	var c checker
	r.Email = normalEmail(r.Email)
	c.account(r.Email, r.Password, r.DisplayName)
	return c.err()
}

// Validate reports every fault. The password's shape does not matter here: an
// account may be older than today's rule.
func (r *LoginRequest) Validate() error {
	var c checker
	r.Email = normalEmail(r.Email)
	c.required("email", r.Email)
	c.required("password", r.Password)
	return c.err()
}

// Validate reports every fault.
func (r *RefreshRequest) Validate() error {
	var c checker
	c.required("refreshToken", r.RefreshToken)
	return c.err()
}

// Validate reports every fault; without roles it fills in viewer.
func (r *CreateUserRequest) Validate() error {
	var c checker
	r.Email = normalEmail(r.Email)
	c.account(r.Email, r.Password, r.DisplayName)
	for i, role := range r.Roles {
		oneOf(&c, index("roles", i), role, UserRoles...)
	}
	if len(r.Roles) == 0 {
		r.Roles = []Role{RoleViewer}
	}
	return c.err()
}

// Validate reports every fault.
func (r *GrantRolesRequest) Validate() error {
	var c checker
	if len(r.Roles) == 0 {
		c.add("roles", fault.FieldRequired, "name a role: admin, operator, developer or viewer")
	}
	for i, role := range r.Roles {
		oneOf(&c, index("roles", i), role, UserRoles...)
	}
	return c.err()
}

func normalEmail(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

func (c *checker) account(email, password, displayName string) {
	if c.required("email", email) && !c.tooLong("email", email, maxEmail) && !validEmail(email) {
		c.add("email", fault.FieldInvalidFormat, "must be an e-mail address")
	}
	if c.required("password", password) {
		c.password(password)
	}
	if utf8.RuneCountInString(displayName) > maxDisplayName {
		c.add("displayName", fault.FieldTooLong, "must be at most %d characters", maxDisplayName)
	}
}

func (c *checker) password(p string) {
	switch {
	case utf8.RuneCountInString(p) < minPassword:
		c.add("password", fault.FieldTooShort, "must have at least %d characters", minPassword)
	case len(p) > maxPassword:
		c.add("password", fault.FieldTooLong, "must be at most %d bytes", maxPassword)
	case !strings.ContainsFunc(p, unicode.IsUpper):
		c.add("password", fault.FieldMissingUppercase, "must hold a capital letter")
	case !strings.ContainsFunc(p, unicode.IsLower):
		c.add("password", fault.FieldMissingLowercase, "must hold a small letter")
	case !strings.ContainsFunc(p, unicode.IsDigit):
		c.add("password", fault.FieldMissingDigit, "must hold a digit")
	}
}

// validEmail asks for local@domain.tld and no more: only a mail tells the rest.
func validEmail(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || strings.Contains(domain, "@") {
		return false
	}
	if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return false
	}
	host, tld, ok := cutLast(domain, '.')
	return ok && host != "" && tld != "" && !strings.HasPrefix(host, ".") && !strings.Contains(domain, "..")
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
