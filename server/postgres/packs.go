package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/pack"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// abandonedAfter is longer than any upload takes: a pack that still waits for its
// bundle then was left behind by a server that died.
const abandonedAfter = 15 * time.Minute

// CreatePack stores a pack whose bundle is still to come. It takes the place of
// one of the same name and version that the caller's upload left behind.
func (db *DB) CreatePack(ctx context.Context, id access.Identity, p api.Pack) (api.Pack, error) {
	metadata, err := jsonText(orEmpty(p.Metadata))
	if err != nil {
		return p, err
	}
	if p.Visibility == "" {
		p.Visibility = api.VisibilityPrivate
	}
	if p.Format == "" {
		p.Format = api.FormatCommonJS
	}
	if p.ID == "" {
		p.ID = api.NewID()
	}
	var made api.Pack
	err = db.writeAs(ctx, "create pack", id, func(b *pgx.Batch) {
		b.Queue(`delete from public.packs k where k.name = $1 and k.version = $2 and k.status = 'pending'
			and k.owner_id = $3::text::uuid and k.created_at < now() - $4::text::interval`,
			p.Name, p.Version, id.UserID, abandonedAfter.String())
		b.Queue(`insert into public.packs as k (id, name, version, runtime_tag, visibility, format, description, metadata)
			values (@id, @name, @version, @tag::text::public.runtime_tag, @visibility::text::public.pack_visibility, @format, @description, @metadata::text::jsonb)
			returning `+packColumns, pgx.StrictNamedArgs{
			"id": p.ID, "name": p.Name, "version": p.Version, "tag": string(p.RuntimeTag), "visibility": string(p.Visibility),
			"format": string(p.Format), "description": orNull(p.Description), "metadata": metadata,
		}).Query(one(&made, scanPack))
	})
	if f := conflictOn(err, "packs_name_version_key"); f != nil {
		return made, fault.Wrap(f.Cause, fault.Conflict, "version %s of this pack exists already", p.Version)
	}
	return made, err
}

// BundleObject names the object that lies under a key of the caller's, or nothing:
// CompletePack wants to know which one was read.
func (db *DB) BundleObject(ctx context.Context, id access.Identity, path string) (object string, err error) {
	err = db.readAs(ctx, "bundle object", id, func(b *pgx.Batch) {
		b.Queue("select coalesce(stark.bundle_object($1), '')", path).Query(one(&object, scanText))
	})
	return object, err
}

// CompletePack makes a pending pack ready, now that its bundle is stored. An object
// that has taken the place of the one that was read meanwhile is a Conflict: the
// look at it and the change of the row are one transaction, in turns with Storage.
//
// Users do not write these columns, since they cannot show what the bundle holds. So
// the row is looked for as the user, with the right to change it, and then written
// as the service.
func (db *DB) CompletePack(ctx context.Context, id access.Identity, packID string, bundle pack.Bundle) (api.Pack, error) {
	var k api.Pack
	same := true
	if err := checkID(packID, "pack"); err != nil {
		return k, err
	}
	err := db.writeAs(ctx, "complete pack", id, func(b *pgx.Batch) {
		b.Queue(`select pg_advisory_xact_lock(hashtextextended('stark.bundle/' || $1::text, 0))`, bundle.Path)
		b.Queue(`select $2 in (o.name, split_part(o.name, ':', 1)) from (select coalesce(stark.bundle_object($1), '') as name) o`, bundle.Path, bundle.Object).Query(one(&same, scanBool))
		b.Queue(`select set_config('stark.completes', k.id::text, true) from public.packs k
			where k.id = $1 and k.status = 'pending' and $3 in (stark.bundle_object($2), split_part(stark.bundle_object($2), ':', 1))
			for update`, packID, bundle.Path, bundle.Object)
		b.Queue(`select set_config('role', $1, true)`, roleService)
		b.Queue(`update public.packs k set bundle_sha256 = @sha, bundle_size = @size, status = 'ready'
			where k.id::text = current_setting('stark.completes', true) and k.status = 'pending'
			returning `+packColumns, pgx.StrictNamedArgs{
			"sha": bundle.SHA256, "size": bundle.Size,
		}).Query(one(&k, scanPack))
	})
	if fault.CodeOf(err) == fault.NotFound && !same {
		return k, fault.Wrap(err, fault.Conflict, "the bundle was replaced or removed while it was being registered; upload it once more and try again")
	}
	return k, notFound(err, "pending pack")
}

// AbandonPack removes a pack whose bundle never came; a ready one stays.
func (db *DB) AbandonPack(ctx context.Context, id access.Identity, packID string) error {
	if err := checkID(packID, "pack"); err != nil {
		return err
	}
	return db.writeAs(ctx, "abandon pack", id, func(b *pgx.Batch) {
		b.Queue("delete from public.packs where id = $1 and status = 'pending'", packID)
	})
}

// GetPack gives one pack that the caller may see.
func (db *DB) GetPack(ctx context.Context, id access.Identity, packID string) (api.Pack, error) {
	var k api.Pack
	if err := checkID(packID, "pack"); err != nil {
		return k, err
	}
	err := db.readAs(ctx, "get pack", id, func(b *pgx.Batch) {
		b.Queue("select "+packColumns+" from public.packs k where k.id = $1", packID).Query(one(&k, scanPack))
	})
	return k, notFound(err, "pack")
}

// ListPacks gives a page of the packs that the caller may see, newest first.
func (db *DB) ListPacks(ctx context.Context, id access.Identity, q api.PackQuery) (api.Page[api.Pack], error) {
	w := where{}
	if q.RuntimeTag != "" {
		w.and("k.runtime_tag::text = @tag", "tag", string(q.RuntimeTag))
	}
	if q.Search != "" {
		w.and("k.name ilike @search", "search", likePattern(q.Search))
	}
	if q.Name != "" {
		w.and("k.name = @name", "name", q.Name)
	}
	if q.Version != "" {
		w.and("k.version = @version", "version", q.Version)
	}
	if q.OwnerID != "" {
		w.and("k.owner_id::text = @owner", "owner", q.OwnerID)
	}
	return paged(ctx, db, id, q.PageQuery, listing[api.Pack]{
		op: "list packs", columns: packColumns, from: "public.packs k", order: "k.created_at desc, k.id", where: w, scan: scanPack,
	})
}

// PackVersions gives the versions of a pack from the highest to the lowest.
func (db *DB) PackVersions(ctx context.Context, id access.Identity, name string) ([]api.PackVersion, error) {
	var versions []api.PackVersion
	err := db.readAs(ctx, "pack versions", id, func(b *pgx.Batch) {
		b.Queue(`select k.id::text, k.version, k.runtime_tag::text, k.created_at from public.packs k
			where k.name = $1 and k.status = 'ready'`, name).
			Query(all(&versions, func(row pgx.CollectableRow) (api.PackVersion, error) {
				var v api.PackVersion
				err := row.Scan(&v.ID, &v.Version, &v.RuntimeTag, &v.CreatedAt)
				return v, err
			}))
	})
	if err != nil {
		return nil, err
	}
	if len(versions) == 0 {
		return nil, fault.New(fault.NotFound, "pack not found")
	}
	pack.Arrange(versions)
	return versions, nil
}

// UpdatePack changes what may change of a pack: description, metadata, visibility.
func (db *DB) UpdatePack(ctx context.Context, id access.Identity, packID string, r api.UpdatePackRequest) (api.Pack, error) {
	var k api.Pack
	if err := checkID(packID, "pack"); err != nil {
		return k, err
	}
	metadata, err := jsonText(r.Metadata)
	if err != nil {
		return k, err
	}
	var visibility *string
	if r.Visibility != nil {
		visibility = new(string(*r.Visibility))
	}
	err = db.changeOwn(ctx, "update pack", id, "pack", packID, "select exists (select from public.packs where id = $1)",
		func(b *pgx.Batch) {
			b.Queue(`update public.packs k set description = coalesce(@description, k.description),
				metadata = coalesce(@metadata::text::jsonb, k.metadata),
				visibility = coalesce(@visibility::text::public.pack_visibility, k.visibility)
				where k.id = @id returning `+packColumns,
				pgx.StrictNamedArgs{"id": packID, "description": r.Description, "metadata": metadata, "visibility": visibility}).
				Query(one(&k, scanPack))
		})
	return k, err
}

// DeletePack removes a pack that no pod uses, and gives where its bundle lies.
func (db *DB) DeletePack(ctx context.Context, id access.Identity, packID string) (bundlePath string, err error) {
	if err := checkID(packID, "pack"); err != nil {
		return "", err
	}
	err = db.changeOwn(ctx, "delete pack", id, "pack", packID, "select exists (select from public.packs where id = $1)",
		func(b *pgx.Batch) {
			b.Queue("delete from public.packs k where k.id = $1 returning coalesce(k.bundle_path, '')", packID).Query(one(&bundlePath, scanText))
		})
	if f := conflictOn(err, "pods_pack_id_fkey"); f != nil {
		return "", fault.Wrap(f.Cause, fault.Conflict, "pods still use this pack")
	}
	return bundlePath, err
}

// changeOwn runs a change under row level security. A row that the caller sees
// and may not change is forbidden; one that is not seen does not exist; one that is
// not at the version that ctx names is a conflict (see access.Expect).
func (db *DB) changeOwn(ctx context.Context, op string, id access.Identity, what, key, seenSQL string, change func(*pgx.Batch)) error {
	var seen bool
	err := db.changeAs(ctx, op, id, what, key, func(b *pgx.Batch) {
		b.Queue(seenSQL, key).Query(one(&seen, scanBool))
		change(b)
	})
	if fault.CodeOf(err) == fault.NotFound && seen {
		return fault.Wrap(err, fault.Forbidden, "you may not change this %s", what)
	}
	return notFound(err, what)
}

func orEmpty[M ~map[K]V, K comparable, V any](m M) M {
	if m == nil {
		return M{}
	}
	return m
}

func orNone[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
