package main

import (
	"fmt"
	"strings"
)

// The three scripts do the same: after the words of a command complete its
// sub-commands, its flags after a dash, and what it names and files otherwise.

func bash(name string, all []verb) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# bash completion for %s\n_%s() {\n", name, name)
	b.WriteString("  local cur=${COMP_WORDS[COMP_CWORD]} words= flags=--help path= names=\n")
	b.WriteString("  local -a typed=(\"${COMP_WORDS[@]:1:COMP_CWORD-1}\")\n")
	b.WriteString("  local w; for w in \"${typed[@]}\"; do [[ $w == -* ]] && break; path=\"${path:+$path }$w\"\n")
	b.WriteString("    case $path in\n")
	for _, v := range all {
		fmt.Fprintf(&b, "      %s) words=%s flags=%s names=%s;;\n", quote(v.path), quote(words(children(v.path, all))), quote(flagWords(v)), quote(v.names))
	}
	b.WriteString("    esac\n  done\n")
	fmt.Fprintf(&b, "  [[ -z $path ]] && words=%s\n", quote(words(children("", all))))
	b.WriteString("  if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W \"$flags\" -- \"$cur\"))\n")
	b.WriteString("  elif [[ -n $words ]]; then COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n")
	b.WriteString("  else COMPREPLY=($(compgen -W \"$([[ -z $names ]] || $names 2>/dev/null)\" -- \"$cur\") $(compgen -f -- \"$cur\")); fi\n}\n")
	fmt.Fprintf(&b, "complete -o filenames -F _%s %s\n", name, name)
	return b.String()
}

func zsh(name string, all []verb) string {
	var b strings.Builder
	fmt.Fprintf(&b, "#compdef %s\n_%s() {\n", name, name)
	b.WriteString("  local path= names= w; local -a cmds flags\n")
	fmt.Fprintf(&b, "  cmds=(%s)\n", zshPairs(children("", all)))
	b.WriteString("  for w in ${words[2,CURRENT-1]}; do [[ $w == -* ]] && break; path=\"${path:+$path }$w\"\n")
	b.WriteString("    case $path in\n")
	for _, v := range all {
		fmt.Fprintf(&b, "      %s) cmds=(%s) flags=(%s) names=%s;;\n", quote(v.path), zshPairs(children(v.path, all)), flagWords(v), quote(v.names))
	}
	b.WriteString("    esac\n  done\n")
	b.WriteString("  if [[ $PREFIX == -* ]]; then compadd -a flags\n")
	b.WriteString("  elif (( $#cmds )); then _describe command cmds\n  else [[ -n $names ]] && compadd -- ${(f)\"$(${(z)names} 2>/dev/null)\"}; _files; fi\n}\n")
	fmt.Fprintf(&b, "if [[ $funcstack[1] == _%s ]]; then _%s \"$@\"; else compdef _%s %s; fi\n", name, name, name, name)
	return b.String()
}

func zshPairs(vs []verb) string {
	var w []string
	for _, v := range vs {
		w = append(w, quote(v.path+":"+v.short))
	}
	return strings.Join(w, " ")
}

func fish(name string, all []verb) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# fish completion for %s\n", name)
	for _, v := range all {
		parent, word := "", v.path
		if i := strings.LastIndexByte(v.path, ' '); i >= 0 {
			parent, word = v.path[:i], v.path[i+1:]
		}
		cond := "__fish_use_subcommand"
		if parent != "" {
			cond = "__fish_seen_subcommand_from " + parent
		}
		fmt.Fprintf(&b, "complete -c %s -f -n %s -a %s -d %s\n", name, quote(cond), word, quote(v.short))
		for _, f := range v.flags {
			fmt.Fprintf(&b, "complete -c %s -n %s -l %s -d %s\n", name, quote("__fish_seen_subcommand_from "+word), f.Name, quote(f.Usage))
		}
		if v.names != "" {
			fmt.Fprintf(&b, "complete -c %s -n %s -a %s\n", name, quote(cond+"; and __fish_seen_subcommand_from "+word), quote("("+v.names+")"))
		}
		if !v.group {
			fmt.Fprintf(&b, "complete -c %s -F -n %s\n", name, quote("__fish_seen_subcommand_from "+word))
		}
	}
	return b.String()
}

// quote makes one word of s in all three shells; none of our texts contains a
// backslash.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'" }
