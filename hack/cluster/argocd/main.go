// Argocd is as much of Argo CD as a test of our health script and charts needs, in one binary: the application controller,
// which compares and syncs, and the repo server, which reads Git and renders charts.
//
// Each is started through a link of its own name, or as "argocd NAME ARGUMENTS". What a person looks at (API server, UI, login)
// takes no part in syncing and is left out.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	reposerver "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
)

func program(name string) *cobra.Command {
	switch name {
	case "argocd-application-controller":
		return controller.NewCommand()
	case "argocd-repo-server":
		return reposerver.NewCommand()
	}
	return nil
}

func main() {
	name := filepath.Base(os.Args[0])
	if name == "argocd" && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		name = os.Args[0]
	}
	command := program(name)
	if command == nil {
		fmt.Fprintf(os.Stderr, "argocd: no program %q; start it as argocd-application-controller or argocd-repo-server\n", name)
		os.Exit(2)
	}
	if command.Execute() != nil {
		os.Exit(1) // it has said why
	}
}
