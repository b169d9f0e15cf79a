package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// The exit codes.
const (
	exitDone       = 0
	exitError      = 1
	exitNotPlaced  = 2 // the wish is stored, but no node can take it
	exitTimeout    = 3 // waited in vain
	exitNotAllowed = 4 // not signed in, or not allowed
)

// usageError is a command that was typed wrongly.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// usageArgs makes faults in the number of arguments usage errors.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{argsError(cmd, args, err)}
		}
		return nil
	}
}

// argsError names the argument that is missing or too many, by the usage line.
func argsError(cmd *cobra.Command, args []string, err error) error {
	var wanted []string
	most := 0
	for _, field := range strings.Fields(cmd.Use)[1:] {
		most++
		if strings.HasPrefix(field, "<") {
			wanted = append(wanted, strings.TrimSuffix(field, "..."))
		}
	}
	switch {
	case len(args) < len(wanted):
		return fmt.Errorf("%s is missing", wanted[len(args)])
	case len(args) > most:
		return fmt.Errorf("unexpected argument %q", args[most])
	default:
		return err
	}
}

// exitCodeError is an error with an exit code of its own.
type exitCodeError struct {
	code int
	err  error
}

func (e exitCodeError) Error() string { return e.err.Error() }
func (e exitCodeError) Unwrap() error { return e.err }

// hinted is an error with the next step to take.
type hinted struct {
	err  error
	hint string
}

func (e hinted) Error() string { return e.err.Error() }
func (e hinted) Unwrap() error { return e.err }

func withHint(err error, format string, args ...any) error {
	return hinted{err, fmt.Sprintf(format, args...)}
}

// silent ends the command with an exit code when everything has been said.
type silent int

func (silent) Error() string { return "" }

// fail tells an error on stderr and gives the exit code.
func (a *app) fail(ctx context.Context, cmd *cobra.Command, err error) int {
	if err == nil {
		return exitDone
	}
	if code, ok := errors.AsType[silent](err); ok {
		return int(code)
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		fmt.Fprintln(a.stderr, "interrupted")
		return exitError
	}
	if usage, ok := errors.AsType[usageError](err); ok {
		err = usage
	} else if strings.HasPrefix(err.Error(), "unknown command ") { // cobra's own, of the root
		err = usageError{err}
	}
	if f, _ := parseFormat(a.flagOutput, a.settings.Output); f == formatJSON {
		a.failJSON(err)
	} else {
		a.failText(cmd, err)
	}
	return exitCode(err)
}

func exitCode(err error) int {
	if e, ok := errors.AsType[exitCodeError](err); ok {
		return e.code
	}
	switch fault.CodeOf(err) {
	case fault.AuthenticationRequired, fault.InvalidCredentials, fault.TokenExpired, fault.TokenInvalid,
		fault.UserNotFound, fault.AuthenticationFailed, fault.Forbidden:
		return exitNotAllowed
	default:
		return exitError
	}
}

func (a *app) failJSON(err error) {
	body := fault.Envelope{Error: fault.Body{Code: fault.Internal, Message: message(err)}}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		body = fault.ToEnvelope(e)
		body.Error.Message = message(err)
	} else if _, ok := errors.AsType[usageError](err); ok {
		body.Error.Code = fault.Validation
	}
	if data, jsonErr := json.Marshal(body); jsonErr == nil {
		fmt.Fprintf(a.stderr, "%s\n", escapeJSON(data))
	}
}

func (a *app) failText(cmd *cobra.Command, err error) {
	fmt.Fprintf(a.stderr, "error: %s\n", message(err))
	e, ok := errors.AsType[*fault.Error](err)
	if ok && len(e.Details) > 1 {
		for _, path := range slices.Sorted(maps.Keys(e.Details)) {
			if field, ok := e.Details[path].(fault.Field); ok {
				fmt.Fprintf(a.stderr, "  %s: %s\n", path, field.Message)
			}
		}
	}
	if _, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintf(a.stderr, "usage: %s\nrun \"%s --help\" for more\n", cmd.UseLine(), cmd.CommandPath())
		return
	}
	if hint := a.hint(err); hint != "" {
		fmt.Fprintf(a.stderr, "%s\n", hint)
	}
}

// message is the text for people: that of the fault, without code and cause, with
// what was wrapped around it.
func message(err error) string {
	text := err.Error()
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return text
	}
	plain := e.Message
	if e.Code == fault.Validation && len(e.Details) > 1 {
		plain = "the request is not valid"
	}
	return strings.Replace(text, e.Error(), plain, 1)
}

// hint gives the next step.
func (a *app) hint(err error) string {
	if h, ok := errors.AsType[hinted](err); ok {
		return h.hint
	}
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return ""
	}
	switch e.Code {
	case fault.AuthenticationRequired, fault.TokenExpired, fault.TokenInvalid, fault.UserNotFound, fault.AuthenticationFailed:
		if a.getenv("STARK_TOKEN") != "" {
			return "the token comes from STARK_TOKEN: give a valid one, or unset it"
		}
		return "sign in with `stark auth login`, or start a cluster of your own with `stark dev`"
	case fault.Forbidden:
		return "see your roles with `stark auth whoami`"
	case fault.Unavailable:
		if e.Cause != nil {
			return "is the server running? Start one with `stark dev`, or name another with --api-url"
		}
		return "try again in a moment; `stark status` shows what is down"
	case fault.RateLimited:
		if e.RetryAfter > 0 {
			return fmt.Sprintf("try again in %s", e.RetryAfter)
		}
		return "try again in a minute"
	case fault.Conflict:
		if e.Details["resourceVersion"] != nil {
			return "somebody else has changed it: look at it again, and repeat the command"
		}
		return ""
	case fault.Gone:
		return "run the command again: it begins with everything that there is"
	case fault.InProgress, fault.Timeout:
		return "run the command again in a moment; look first whether it was done"
	case fault.VersionNotFound, fault.SameVersion:
		return "`stark pod versions <id>` lists the versions that the pod can be taken to"
	case fault.QuotaExceeded:
		return "stop pods that are not needed (`stark pod list`), or ask an operator for more room"
	case fault.Internal:
		if id, ok := e.Details["correlationId"].(string); ok {
			return "the server's log says more under the correlation id " + id
		}
		return ""
	default:
		return ""
	}
}
