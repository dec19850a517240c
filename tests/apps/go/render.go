// Renders the templates of a chart, as helm does: text/template with the functions that the chart uses. helm itself comes from no
// registry that the tests use. Arguments: the directory of templates. Standard input: a JSON object with Values, Release, Chart.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"
)

func nindent(spaces int, text string) string {
	pad := strings.Repeat(" ", spaces)
	return "\n" + pad + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+pad)
}

func scalar(value any) string {
	text, _ := json.Marshal(value)
	return string(text)
}

func lines(value any) []string {
	var out []string
	add := func(head string, inner any) {
		switch inner.(type) {
		case map[string]any, []any:
			if below := lines(inner); len(below) > 0 {
				out = append(out, strings.TrimRight(head, " "))
				for _, line := range below {
					out = append(out, "  "+line)
				}
				return
			}
		}
		out = append(out, head+scalar(inner))
	}
	switch value := value.(type) {
	case map[string]any:
		var keys []string
		for key := range value {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		for _, key := range keys {
			add(key+": ", value[key])
		}
	case []any:
		for _, one := range value {
			add("- ", one)
		}
	}
	return out
}

func main() {
	var data any
	if err := json.NewDecoder(os.Stdin).Decode(&data); err != nil {
		panic(err)
	}
	functions := template.FuncMap{
		"nindent":   nindent,
		"toYaml":    func(value any) string { return strings.Join(lines(value), "\n") },
		"sha256sum": func(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) },
		"default": func(fallback, value any) any {
			if value == nil || value == "" {
				return fallback
			}
			return value
		},
	}
	files, err := filepath.Glob(filepath.Join(os.Args[1], "*.yaml"))
	if err != nil || len(files) == 0 {
		panic("no templates")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			panic(err)
		}
		parsed, err := template.New(file).Option("missingkey=error").Funcs(functions).Parse(string(text))
		if err != nil {
			panic(err)
		}
		fmt.Println("---")
		if err := parsed.Execute(os.Stdout, data); err != nil {
			panic(err)
		}
	}
}
