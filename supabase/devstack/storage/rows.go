package storage

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// metadata is what Storage itself knows about an object's bytes.
type metadata struct {
	ETag           string    `json:"eTag,omitempty"`
	Size           *int64    `json:"size,omitempty"`
	MIME           string    `json:"mimetype"`
	CacheControl   string    `json:"cacheControl,omitempty"`
	LastModified   timestamp `json:"lastModified,omitzero"`
	ContentLength  *int64    `json:"contentLength,omitempty"`
	HTTPStatusCode int       `json:"httpStatusCode,omitempty"`
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (t *timestamp) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	parsed, err := time.Parse(`"`+time.RFC3339Nano+`"`, string(data))
	if err != nil {
		return err
	}
	*t = timestamp(parsed)
	return nil
}

// object is one row of storage.objects.
type object struct {
	ID             string
	BucketID       string
	Name           string
	Owner          *string
	OwnerID        *string
	Version        *string
	Metadata       *metadata
	UserMetadata   map[string]any
	CreatedAt      time.Time
	UpdatedAt      time.Time
	LastAccessedAt time.Time
}

const objectColumns = `id::text, bucket_id, name, owner::text, owner_id, version, metadata, user_metadata,
  created_at, updated_at, last_accessed_at`

func scanObject(row pgx.CollectableRow) (object, error) {
	return pgx.RowToStructByPos[object](row)
}

// objectBody is how rows appear in answers.
type objectBody struct {
	ID             string         `json:"id"`
	BucketID       string         `json:"bucket_id"`
	Name           string         `json:"name"`
	Owner          *string        `json:"owner"`
	OwnerID        *string        `json:"owner_id"`
	Version        *string        `json:"version"`
	Metadata       *metadata      `json:"metadata"`
	UserMetadata   map[string]any `json:"user_metadata"`
	CreatedAt      timestamp      `json:"created_at"`
	UpdatedAt      timestamp      `json:"updated_at"`
	LastAccessedAt timestamp      `json:"last_accessed_at"`
}

func (o object) body() objectBody {
	return objectBody{
		ID: o.ID, BucketID: o.BucketID, Name: o.Name, Owner: o.Owner, OwnerID: o.OwnerID, Version: o.Version,
		Metadata: o.Metadata, UserMetadata: o.UserMetadata, CreatedAt: timestamp(o.CreatedAt),
		UpdatedAt: timestamp(o.UpdatedAt), LastAccessedAt: timestamp(o.LastAccessedAt),
	}
}

func (o object) version() string {
	if o.Version == nil {
		return ""
	}
	return *o.Version
}

// meta never is nil, so that rows written by SQL do no harm.
func (o object) meta() metadata {
	if o.Metadata == nil {
		return metadata{}
	}
	return *o.Metadata
}

func findObject(ctx context.Context, tx pgx.Tx, bucket, key string) (object, error) {
	rows, err := tx.Query(ctx, `select `+objectColumns+` from storage.objects where bucket_id = $1 and name = $2`,
		bucket, key)
	if err != nil {
		return object{}, err
	}
	o, err := pgx.CollectExactlyOneRow(rows, scanObject)
	if errors.Is(err, pgx.ErrNoRows) {
		return object{}, noSuchKey()
	}
	return o, err
}

// insertion is a row about to be written.
type insertion struct {
	bucket, key string
	owner       actor
	version     string
	metadata    metadata
	user        map[string]any
	upsert      bool
}

const insertObject = `insert into storage.objects (bucket_id, name, owner, owner_id, version, metadata, user_metadata)
  values ($1, $2, $3::uuid, $4, $5, $6, $7)`

const onConflict = ` on conflict (bucket_id, name) do update set owner = excluded.owner, owner_id = excluded.owner_id,
  version = excluded.version, metadata = excluded.metadata, user_metadata = excluded.user_metadata`

func (in insertion) args() []any {
	return []any{in.bucket, in.key, in.owner.ownerUUID(), in.owner.ownerID(), in.version, in.metadata, in.user}
}

// attempt is the trial write that asks the policies. An upsert needs the right
// to update even where no row exists yet, as on the real server.
func (in insertion) attempt(ctx context.Context, tx pgx.Tx) error {
	if !in.upsert {
		_, err := tx.Exec(ctx, insertObject, in.args()...)
		return err
	}
	if _, err := tx.Exec(ctx, insertObject+onConflict, in.args()...); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, `update storage.objects set version = $3 where bucket_id = $1 and name = $2`,
		in.bucket, in.key, in.version)
	if err == nil && tag.RowsAffected() != 1 {
		return accessDenied("new row violates row-level security policy")
	}
	return err
}

// write is the real thing, as service_role. It returns the row and the version
// that it replaced. The lock makes concurrent writers of one key take turns
// before either of them holds a row.
func (in insertion) write(ctx context.Context, tx pgx.Tx) (o object, replaced string, err error) {
	if err := lockKey(ctx, tx, in.bucket, in.key); err != nil {
		return object{}, "", err
	}
	old, err := findObject(ctx, tx, in.bucket, in.key)
	found := err == nil
	if f := (*fault)(nil); err != nil && !errors.As(err, &f) {
		return object{}, "", err
	}
	if found && !in.upsert {
		return object{}, "", duplicate("KeyAlreadyExists")
	}
	rows, err := tx.Query(ctx, insertObject+onConflict+` returning `+objectColumns, in.args()...)
	if err != nil {
		return object{}, "", err
	}
	o, err = pgx.CollectExactlyOneRow(rows, scanObject)
	return o, old.version(), err
}

func lockKey(ctx context.Context, tx pgx.Tx, bucket, key string) error {
	_, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended($1, 0))`, bucket+"/"+key)
	return err
}
