package rest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/stark-orchestrator/stark/supabase/devstack/patience"
)

// service holds no state: the catalog is read with every request.
type service struct {
	Config
	guard *patience.Guard
}

// call is one request on its way through a handler.
type call struct {
	w         http.ResponseWriter
	r         *http.Request
	actor     actor
	schema    string
	byProfile bool // the request named its schema
	name      string
	root      bool // the description of a schema is meant, and no name is given
	prefer    preferences
	media     media
}

// ServeHTTP implements http.Handler.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{w: w, r: r}
	if err := s.serve(c); err != nil {
		s.writeFault(r.Context(), w, err, c.actor.role != roleAnon)
	}
}

func (s *service) serve(c *call) (err error) {
	handler, err := route(c)
	if err != nil {
		return err
	}
	if c.actor, err = s.caller(c.r); err != nil {
		return err
	}
	if err := s.profile(c); err != nil {
		return err
	}
	if c.prefer, err = parsePrefer(c.r.Header); err != nil {
		return err
	}
	if c.media, err = parseAccept(c.r.Header, c.root); err != nil {
		return err
	}
	return handler(s, c)
}

type handler func(*service, *call) error

func route(c *call) (handler, error) {
	path := strings.TrimPrefix(c.r.URL.EscapedPath(), "/")
	if path == "" {
		if !c.reads() {
			return nil, unsupported(c.r.Method)
		}
		c.root = true
		return describe, nil
	}
	rest, isCall := strings.CutPrefix(path, "rpc/")
	name, err := url.PathUnescape(rest)
	if err != nil || name == "" || strings.Contains(rest, "/") {
		return nil, refuse(http.StatusNotFound, "PGRST125", "Invalid path specified in request URL")
	}
	if err := storable(name); err != nil {
		return nil, err
	}
	c.name = name
	if isCall {
		switch c.r.Method {
		case http.MethodGet, http.MethodHead, http.MethodPost:
			return callFunction, nil
		}
		return nil, refuse(http.StatusMethodNotAllowed, "PGRST101", "Cannot use the "+shorten(c.r.Method)+" method on RPC")
	}
	handlers := map[string]handler{
		http.MethodGet: readTable, http.MethodHead: readTable, http.MethodPost: insertRows,
		http.MethodPut: putRow, http.MethodPatch: updateRows, http.MethodDelete: deleteRows,
	}
	if h, ok := handlers[c.r.Method]; ok {
		return h, nil
	}
	return nil, unsupported(c.r.Method)
}

func unsupported(method string) error {
	return refuse(http.StatusMethodNotAllowed, "PGRST117", "Unsupported HTTP method: "+shorten(method))
}

func (c *call) reads() bool { return c.r.Method == http.MethodGet || c.r.Method == http.MethodHead }

// profile finds the schema that a request means.
func (s *service) profile(c *call) error {
	header := "Content-Profile"
	if c.reads() {
		header = "Accept-Profile"
	}
	c.schema = s.Schemas[0]
	if wanted := c.r.Header.Get(header); wanted != "" {
		c.schema, c.byProfile = wanted, true
	}
	if !slices.Contains(s.Schemas, c.schema) {
		f := refuse(http.StatusNotAcceptable, "PGRST106", "Invalid schema: "+shorten(c.schema))
		f.Hint = "Only the following schemas are exposed: " + strings.Join(s.Schemas, ", ")
		return f
	}
	return nil
}
