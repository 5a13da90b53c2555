package cases

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// top is the repository.
const top = "../.."

// name is what a case is called, in comments and in the names of scripts.
var name = regexp.MustCompile(`\b[PRDSN][0-9]{1,2}\b`)

// found are the tests by the case that they name.
type found map[string]map[string]bool

func (f found) add(text, test string) {
	for _, c := range name.FindAllString(strings.ReplaceAll(text, "_", " "), -1) {
		if f[c] == nil {
			f[c] = map[string]bool{}
		}
		f[c][test] = true
	}
}

// collect looks for cases where tests name them: in comments on and in test
// functions, and in the names and comments of scripts.
func collect(t *testing.T) found {
	t.Helper()
	f := found{}
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(top, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && (rel == "build" || rel == "dist" || rel == ".git" || rel == filepath.Join("test", "cases")):
			return fs.SkipDir
		case strings.HasSuffix(path, "_test.go"):
			return f.goTests(path, rel)
		case strings.HasSuffix(path, ".txtar"):
			return f.script(path, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f found) goTests(path, rel string) error {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		return err
	}
	for _, decl := range file.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Test") && !strings.HasPrefix(fn.Name.Name, "Fuzz") {
			continue
		}
		begin := fn.Pos()
		if fn.Doc != nil {
			begin = fn.Doc.Pos()
		}
		for _, comment := range file.Comments {
			if comment.Pos() >= begin && comment.End() <= fn.End() {
				f.add(comment.Text(), filepath.Dir(rel)+" "+fn.Name.Name)
			}
		}
	}
	return nil
}

func (f found) script(path, rel string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f.add(filepath.Base(path), rel)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "-- ") {
			break // files, not the script
		}
		if strings.HasPrefix(line, "#") {
			f.add(line, rel)
		}
	}
	return nil
}
