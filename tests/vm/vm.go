// Package vm proves machines of kind libvirt on real ones: guests that boot
// under QEMU's emulation, bring their model from a real S3 server, and
// transcribe. Its tests have the build tag vm, and are run by make test-vm.
package vm
