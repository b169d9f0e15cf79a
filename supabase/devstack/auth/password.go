package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/mail"
	"strconv"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// longest is where bcrypt stops reading.
const longest = 72

// weakness lists why a password is refused: "length", "characters".
func (s *service) weakness(password string) []string {
	var reasons []string
	if len([]rune(password)) < s.MinPassword {
		reasons = append(reasons, "length")
	}
	for _, class := range s.PasswordClasses {
		if !strings.ContainsAny(password, class) {
			reasons = append(reasons, "characters")
			break
		}
	}
	return reasons
}

func (s *service) checkPassword(password string) error {
	if len(password) > longest {
		return invalid("Password cannot be longer than 72 characters")
	}
	reasons := s.weakness(password)
	if len(reasons) == 0 {
		return nil
	}
	message := "Password should contain at least one character of each required kind"
	if reasons[0] == "length" {
		message = "Password should be at least " + strconv.Itoa(s.MinPassword) + " characters."
	}
	return &apiError{status: http.StatusUnprocessableEntity, code: "weak_password", message: message, reasons: reasons}
}

// hash is bcrypt, at the cost that GoTrue uses, unless it was lowered.
func (s *service) hash(ctx context.Context, password string) (string, error) {
	if len(password) > longest {
		return "", invalid("Password cannot be longer than 72 characters")
	}
	leave, err := s.enterHashing(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), s.PasswordCost)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	return string(hash), nil
}

// matches compares a password with a stored hash. A user without a password matches none.
func (s *service) matches(ctx context.Context, hash, password string) (bool, error) {
	if hash == "" || len(password) > longest {
		return false, nil
	}
	leave, err := s.enterHashing(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	err = bcrypt.CompareHashAndPassword([]byte(hash), []byte(password))
	if err != nil && !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, fmt.Errorf("compare a password: %w", err)
	}
	return err == nil, nil
}

func (s *service) enterHashing(ctx context.Context) (leave func(), err error) {
	select {
	case s.hashing <- struct{}{}:
		return func() { <-s.hashing }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait to hash a password: %w", ctx.Err())
	}
}

// randomPassword is for users that an administrator makes without one: nobody knows it.
func randomPassword() string { return rand.Text() + rand.Text() }

// normalEmail checks an address and returns it in lower case.
func normalEmail(email string) (string, error) {
	email = strings.ToLower(strings.TrimSpace(email))
	parsed, err := mail.ParseAddress(email)
	if err != nil || parsed.Address != email || len(email) > 255 {
		return "", invalid("Unable to validate email address: invalid format")
	}
	return email, nil
}
