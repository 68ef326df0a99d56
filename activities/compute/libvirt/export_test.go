package libvirt

import "context"

// Call is a call of virsh, Hook what stands before one.
type (
	Call func(ctx context.Context, args []string) (string, error)
	Hook func(ctx context.Context, args []string, call Call) (string, error)
)

// Between puts a hook before each call of virsh.
func (p *Provider) Between(hook Hook) {
	run := p.run
	p.run = func(ctx context.Context, uri string, args ...string) (string, error) {
		return hook(ctx, args, func(ctx context.Context, args []string) (string, error) { return run(ctx, uri, args...) })
	}
}
