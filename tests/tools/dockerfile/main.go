// Parses a Dockerfile with BuildKit's own parser, prints the result as JSON, and fails if the parser or the linter reports a warning.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

type command struct {
	Name    string
	Command instructions.Command
}

type stage struct {
	Name, Base string
	Commands   []command
}

func main() {
	if len(os.Args) != 2 {
		fail("usage: dockerfile FILE")
	}
	file, err := os.Open(os.Args[1])
	if err != nil {
		fail(err)
	}
	parsed, err := parser.Parse(file)
	if err != nil {
		fail(err)
	}
	for _, warning := range parsed.Warnings {
		fail(warning.Short)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, _ []parser.Range) { fail(rule + ": " + message) }})
	stages, arguments, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		fail(err)
	}
	var printed []stage
	for _, parsed := range stages {
		made := stage{Name: parsed.Name, Base: parsed.BaseName}
		for _, one := range parsed.Commands {
			made.Commands = append(made.Commands, command{one.Name(), one})
		}
		printed = append(printed, made)
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]any{"Arguments": arguments, "Stages": printed}); err != nil {
		fail(err)
	}
}

func fail(reason any) {
	fmt.Fprintln(os.Stderr, reason)
	os.Exit(1)
}
