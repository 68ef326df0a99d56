package commands

import (
	"fmt"
	"io"

	"github.com/understudy-dr/understudy/activities/awsclient"
	"github.com/understudy-dr/understudy/activities/compute/ec2"
)

type imageCommand struct {
	Build imageBuildCommand `cmd:"" help:"Build an image from a description, on this host, as root."`
	List  imageListCommand  `cmd:"" help:"Show the images of a directory or of a hypervisor's pool."`
	Check imageCheckCommand `cmd:"" help:"Compare an image with its manifest, every byte."`
	Push  imagePushCommand  `cmd:"" help:"Bring an image to a hypervisor's pool."`
	Copy  imageCopyCommand  `cmd:"" help:"Copy a machine image to another region of EC2, and wait until it can be launched there."`
}

type imageCopyCommand struct {
	Image string `arg:"" help:"The image, by id or by name."`
	From  string `help:"Region where it is." required:"" placeholder:"REGION"`
	To    string `help:"Region where machines are to be made from it." required:"" placeholder:"REGION"`
	Name  string `help:"Name of the copy. Default: that of the image, so that one runbook names both." placeholder:"NAME"`
}

func (imageCopyCommand) Help() string {
	return `A copy takes minutes to hours: it is made ahead of time, never in a recovery. It is encrypted. Interrupted, it goes on by itself, and the same command waits for it again; a copy that is there already is found.
The credentials are those of the site file (aws:), else AWS's usual ones; they need ec2:CopyImage, ec2:DescribeImages and ec2:CreateTags.

  understudy image copy asr-2512 --from us-east-1 --to us-west-2`
}

func (c *imageCopyCommand) Run(g *Globals) error {
	site, err := g.site()
	if err != nil {
		return err
	}
	provider := ec2.New(ec2.Config{Account: awsclient.New(site.AWS)})
	copied, err := provider.CopyImage(g.ctx, ec2.ImageCopy{Image: c.Image, From: c.From, To: c.To, Name: c.Name}, func(made ec2.CopiedImage) {
		if g.terminal {
			fmt.Fprintf(g.err, "\r\033[K%s in %s is %s", made.ID, made.Region, made.State)
		}
	})
	if g.terminal {
		fmt.Fprint(g.err, "\r\033[K")
	}
	if err != nil {
		return err
	}
	return g.print(copied, func(w io.Writer) {
		fmt.Fprintf(w, "%s in %s is a copy of %s, named %q: put it under placements of that region\n", copied.ID, copied.Region, copied.Source, copied.Name)
	})
}
