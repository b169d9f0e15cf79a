package storage

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
)

// source is an upload's bytes and what the client says about them.
type source struct {
	reader       io.Reader
	length       int64 // -1 when unknown
	mime         string
	cacheControl string
	user         map[string]any
}

const (
	defaultMIME  = "application/octet-stream"
	noCache      = "no-cache"
	maxFormParts = 16
	maxFormField = 4 << 10
)

// openSource tells raw uploads from forms. It reads no byte of the object.
func openSource(r *http.Request) (source, error) {
	contentType := r.Header.Get("Content-Type")
	if mt, params, err := mime.ParseMediaType(contentType); err == nil && mt == "multipart/form-data" {
		return openForm(multipart.NewReader(r.Body, params["boundary"]))
	}
	user, err := headerMetadata(r.Header.Get("X-Metadata"))
	if err != nil {
		return source{}, err
	}
	if contentType == "" {
		contentType = defaultMIME
	}
	src := source{
		reader: r.Body, length: r.ContentLength, mime: contentType, user: user,
		cacheControl: r.Header.Get("Cache-Control"),
	}
	if src.cacheControl == "" {
		src.cacheControl = noCache
	}
	return src, nil
}

func headerMetadata(header string) (map[string]any, error) {
	if header == "" {
		return nil, nil
	}
	text, err := base64.StdEncoding.DecodeString(header)
	if err != nil {
		text, err = base64.RawURLEncoding.DecodeString(strings.TrimRight(header, "="))
	}
	if err != nil {
		return nil, invalidRequest("headers/x-metadata must be base64 of a JSON object")
	}
	return userMetadata(text, "headers/x-metadata must be base64 of a JSON object")
}

func userMetadata(text []byte, complaint string) (map[string]any, error) {
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, invalidRequest("%s", complaint)
	}
	return m, nil
}

// openForm reads the fields that stand before the file, and stops at its first
// byte. The length of a form's file is known only at its end.
func openForm(form *multipart.Reader) (source, error) {
	src := source{length: -1, cacheControl: noCache}
	fields := map[string]string{}
	for range maxFormParts {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return src, refuse(http.StatusBadRequest, "InvalidRequest", "InvalidRequest", "No content provided")
		}
		if err != nil {
			return src, malformedBody("malformed multipart body")
		}
		name := part.FormName()
		if part.FileName() == "" && isFormField(name) {
			if fields[name], err = readField(part, name); err != nil {
				return src, err
			}
			continue
		}
		src.reader = part
		if src.mime = part.Header.Get("Content-Type"); src.mime == "" {
			src.mime = defaultMIME
		}
		return src, src.apply(fields)
	}
	return src, malformedBody("too many form fields before the file")
}

// isFormField keeps a file without a file name, as storage clients may send
// it, from being taken for a field.
func isFormField(name string) bool {
	switch name {
	case "cacheControl", "metadata", "contentType":
		return true
	}
	return false
}

func readField(part io.Reader, name string) (string, error) {
	limit := int64(maxFormField)
	if name == "metadata" {
		limit = maxJSON
	}
	text, err := io.ReadAll(io.LimitReader(part, limit+1))
	if err != nil {
		return "", malformedBody("malformed multipart body")
	}
	if int64(len(text)) > limit {
		return "", invalidRequest("form field %s is too long", name)
	}
	return string(text), nil
}

func (src *source) apply(fields map[string]string) (err error) {
	if age := fields["cacheControl"]; age != "" {
		src.cacheControl = "max-age=" + age
	}
	if mt := fields["contentType"]; mt != "" {
		src.mime = mt
	}
	if text := fields["metadata"]; text != "" {
		src.user, err = userMetadata([]byte(text), "form field metadata must be a JSON object")
	}
	return err
}
