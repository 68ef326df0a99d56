// Package killed proves that one order makes one machine, whenever Understudy
// is killed while it makes it: on a real hypervisor, with a machine that really
// boots. Its test has the build tag vm.
package killed
