package reports

import (
	"context"
	"errors"
)

// Place is one store among those that keep the same reports.
type Place struct {
	// Name says where it is: disk, or s3.
	Name string
	Store
}

var _ Store = Places{}

// Places keeps reports at several places. Reading and listing need only the
// first, which is this machine: reports are read on days when nothing else is.
type Places []Place

// Each returns the places of a store, itself where it is only one.
func Each(s Store) []Place {
	if p, ok := s.(Places); ok {
		return p
	}
	return []Place{{Name: "disk", Store: s}}
}

// Write keeps a report at every place; one that is away keeps none of the others from it.
func (p Places) Write(ctx context.Context, name string, content []byte) error {
	var failed []error
	for _, place := range p {
		failed = append(failed, place.Store.Write(ctx, name, content))
	}
	return errors.Join(failed...)
}

// Create keeps a report at the first place, which decides, and then at the others.
func (p Places) Create(ctx context.Context, name string, content []byte) error {
	if err := p[0].Store.Create(ctx, name, content); err != nil {
		return err
	}
	return p[1:].Write(ctx, name, content)
}

// Read returns a report of the first place.
func (p Places) Read(ctx context.Context, name string) ([]byte, error) {
	return p[0].Store.Read(ctx, name)
}

// List lists the names at the first place.
func (p Places) List(ctx context.Context, prefix string) ([]string, error) {
	return p[0].Store.List(ctx, prefix)
}
