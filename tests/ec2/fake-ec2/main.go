// Fake-ec2 plays the EC2 API: each instance is a process on this machine, or a
// virtual one under QEMU, at a loopback address of its own.
//
//	fake-ec2 -listen 127.0.0.1:9400 -dir /tmp/ec2 -boot 2s -- speech-site asr -listen {address}:7860 -model /models/asr
//	fake-ec2 -listen 127.0.0.1:9400 -dir /tmp/ec2 -images ./images -image asr@3 -port 7860
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-dr/understudy/activities/compute/images"
	"github.com/understudy-dr/understudy/tests/ec2"
	"github.com/understudy-dr/understudy/tests/ec2/guest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "fake-ec2:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	listen := flag.String("listen", "127.0.0.1:0", "address of the API")
	dir := flag.String("dir", ".", "directory for the output of what runs on instances")
	regions := flag.String("regions", "us-east-1,us-west-2", "regions that exist")
	profiles := flag.String("profiles", "asr-dr", "instance profiles that exist")
	boot := flag.Duration("boot", 2*time.Second, "how long an instance is pending")
	off := flag.Duration("off", time.Second, "how long an instance is stopping")
	hide := flag.Duration("hide", 0, "how long a new instance is in no answer")
	imageDir := flag.String("images", "", "directory of images: each instance is a guest under QEMU, from the one that -image names")
	image := flag.String("image", "", "name@version of the image behind every region's AMI")
	port := flag.Int("port", 7860, "port of a guest that is forwarded from its instance's address")
	flag.Parse()
	o := ec2.Options{Boot: *boot, Off: *off, Profiles: strings.Split(*profiles, ",")}
	for name := range strings.SplitSeq(*regions, ",") {
		o.Regions = append(o.Regions, ec2.NewRegion(name))
	}
	if command := flag.Args(); len(command) > 0 {
		o.Launch = ec2.Program(*dir, command[0], command[1:]...)
	}
	if *imageDir != "" {
		ref, err := images.ParseRef(*image)
		if err != nil {
			return err
		}
		o.Launch = guest.Launch(guest.Config{Dir: *dir, Images: *imageDir, AMIs: map[string]images.Ref{o.Regions[0].Images[0].ID: ref}, Ports: []int{*port}})
	}
	s, err := ec2.Start(*listen, o)
	if err != nil {
		return err
	}
	defer s.Close()
	s.Hide(*hide)
	fmt.Println("EC2 answers at", s.URL, "with access key", ec2.AccessKey, "and secret", ec2.SecretKey)
	<-ctx.Done()
	return nil
}
