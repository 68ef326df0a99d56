package libvirt

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/understudy-dr/understudy/activities/compute"
)

// leastFree is the disk that must be free in the pool, in bytes: an overlay
// begins with some hundred KiB and grows with what its machine writes.
const leastFree = 256 << 20

var (
	availableFormat = regexp.MustCompile(`Available: +([0-9]+)`)
	memoryFormat    = regexp.MustCompile(`(?m)^(free|buffers|cached) *: +([0-9]+) KiB`)
)

// Check asks whether an order would be taken: pool and image whole, network
// there, memory and disk free. See compute.Provider.
func (p *Provider) Check(ctx context.Context, o compute.Order) error {
	at, err := p.checkOrder(o)
	if err != nil {
		return err
	}
	if o.Placement.Instance != "" {
		_, err := p.prepared(ctx, at, o)
		return err
	}
	image, err := p.image(ctx, at, o.Placement.Image)
	if err != nil {
		return err
	}
	if got := memory(o.Placement); got < image.Memory {
		return refused("image %s needs %d MiB of memory, and the placement gives %d", image.Ref(), image.Memory, got)
	}
	if subnet := o.Placement.Subnet; subnet != "" && !strings.HasPrefix(subnet, "bridge:") {
		if _, err := p.call(ctx, at, "net-info", "--network", subnet); err != nil {
			return err
		}
	}
	info, err := p.call(ctx, at, "pool-info", "--bytes", "--pool", at.pool)
	if err != nil {
		return err
	}
	if found := availableFormat.FindStringSubmatch(info); found != nil {
		if free, _ := strconv.ParseInt(found[1], 10, 64); free < leastFree {
			return fmt.Errorf("%w: pool %s at %s has %d MiB free", compute.ErrCapacity, at.pool, at.uri, free>>20)
		}
	}
	stats, err := p.call(ctx, at, "nodememstats")
	if err != nil {
		return err
	}
	free := 0
	for _, found := range memoryFormat.FindAllStringSubmatch(stats, -1) {
		kib, _ := strconv.Atoi(found[2])
		free += kib >> 10
	}
	if want := memory(o.Placement); free > 0 && free < want {
		return fmt.Errorf("%w: %s has %d MiB of memory free, and the machine wants %d", compute.ErrCapacity, at.uri, free, want)
	}
	return nil
}
