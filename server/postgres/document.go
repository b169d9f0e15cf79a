package postgres

import (
	"bytes"
	"encoding/json"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/stark-orchestrator/stark/shared/api"
)

// documents has the columns of type jsonb of a connection decoded by unmarshal.
func documents(conn *pgx.Conn) {
	conn.TypeMap().RegisterType(&pgtype.Type{
		Name: "jsonb", OID: pgtype.JSONBOID, Codec: &pgtype.JSONBCodec{Marshal: json.Marshal, Unmarshal: unmarshal},
	})
}

// unmarshal is json.Unmarshal for what Postgres says a jsonb to be. Of the eleven
// documents of a pod most are empty, and the others a few labels or numbers, so that
// encoding/json, which knows nothing of what comes, took half of the time in which a pod
// was read. What has another shape than these is left to it.
func unmarshal(data []byte, v any) error {
	known := false
	switch to := v.(type) {
	case *map[string]string:
		known = readStrings(data, to)
	case *api.Resources:
		known = readResources(data, to)
	case *map[string]any:
		if known = string(data) == "{}"; known {
			*to = map[string]any{}
		}
	case *api.Scheduling:
		if known = string(data) == "{}"; known {
			*to = api.Scheduling{}
		}
	case *[]api.Toleration:
		if known = string(data) == "[]"; known {
			*to = []api.Toleration{}
		}
	}
	if known {
		return nil
	}
	return json.Unmarshal(data, v)
}

// readStrings reads an object of strings of printable ASCII without escapes.
func readStrings(data []byte, to *map[string]string) bool {
	if len(data) < 2 || data[0] != '{' {
		return false
	}
	for _, c := range data {
		if c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	m := map[string]string{}
	rest := data[1:]
	for len(rest) > 1 {
		key, behind, ok := readText(rest)
		if !ok || len(behind) < 2 || behind[0] != ':' || behind[1] != ' ' {
			return false
		}
		value, behind, ok := readText(behind[2:])
		if !ok {
			return false
		}
		m[string(key)] = string(value)
		if rest, ok = nextMember(behind); !ok {
			return false
		}
	}
	if string(rest) != "}" {
		return false
	}
	*to = m
	return true
}

// readText reads a string in quotes.
func readText(data []byte) (text, rest []byte, ok bool) {
	if len(data) < 2 || data[0] != '"' {
		return nil, nil, false
	}
	end := bytes.IndexByte(data[1:], '"')
	if end < 0 {
		return nil, nil, false
	}
	return data[1 : end+1], data[end+2:], true
}

// nextMember gives what follows a comma, or the end of the object.
func nextMember(data []byte) ([]byte, bool) {
	if len(data) > 2 && data[0] == ',' && data[1] == ' ' && data[2] == '"' {
		return data[2:], true
	}
	return data, string(data) == "}"
}

// readResources reads an object of plain numbers, in millicores and MiB.
func readResources(data []byte, to *api.Resources) bool {
	if len(data) < 2 || data[0] != '{' {
		return false
	}
	var r api.Resources
	rest := data[1:]
	for len(rest) > 1 {
		key, behind, ok := readText(rest)
		if !ok || len(behind) < 3 || behind[0] != ':' || behind[1] != ' ' {
			return false
		}
		n, behind, ok := readNumber(behind[2:])
		if !ok {
			return false
		}
		switch string(key) {
		case "cpu":
			r.CPU = api.Millicores(n)
		case "memory":
			r.Memory = api.Mebibytes(n)
		case "storage":
			r.Storage = api.Mebibytes(n)
		default:
			return false
		}
		if rest, ok = nextMember(behind); !ok {
			return false
		}
	}
	if string(rest) != "}" {
		return false
	}
	*to = r
	return true
}

// readNumber reads a whole number that is not negative and fits into what a double
// holds exactly.
func readNumber(data []byte) (n int64, rest []byte, ok bool) {
	const digits = 15
	i := 0
	for i < len(data) && i <= digits && data[i] >= '0' && data[i] <= '9' {
		n = n*10 + int64(data[i]-'0')
		i++
	}
	if i == 0 || i > digits || i > 1 && data[0] == '0' {
		return 0, nil, false
	}
	return n, data[i:], true
}
