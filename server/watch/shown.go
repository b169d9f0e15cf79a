package watch

// shown is which objects a watcher holds: by their ids, or by those of the rest, which is
// next to nothing for whoever sees all there is.
type shown struct {
	ids  map[string]struct{}
	rest bool // ids are those of the objects that the watcher does not hold
}

// has reports whether the watcher holds an object that exists, or did until now.
func (s *shown) has(id string) bool {
	_, in := s.ids[id]
	return in != s.rest
}

// note says of an object that exists whether the watcher holds it from now on.
func (s *shown) note(id string, holds bool) {
	if holds == s.rest {
		delete(s.ids, id)
		return
	}
	if s.ids == nil {
		s.ids = map[string]struct{}{}
	}
	s.ids[id] = struct{}{}
}

// forget says that an object exists no longer.
func (s *shown) forget(id string) { delete(s.ids, id) }
