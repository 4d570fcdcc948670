// Oracle says, as JSON on standard output, what the validators of k8s.io/system-validators find of this machine by
// their own default spec: the items that they report one by one, and the warnings and errors that they return.
// Its argument is the version of the kubelet that they are told, if their version of the library wants to know it.
package main

import (
	"encoding/json"
	"os"
	"reflect"

	system "k8s.io/system-validators/validators"
)

type item struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Result string `json:"result"`
}

// said keeps what a validator reports. The library keeps the names of the three results to itself.
type said struct{ items []item }

func (s *said) Report(key, value string, result system.ValidationResultType) error {
	s.items = append(s.items, item{key, value, [...]string{"good", "bad", "warn"}[result]})
	return nil
}

func words(errs []error) []string {
	texts := []string{}
	for _, err := range errs {
		texts = append(texts, err.Error())
	}
	return texts
}

func main() {
	reporter := &said{items: []item{}}
	cgroups := &system.CgroupsValidator{Reporter: reporter}
	if kubelet := reflect.ValueOf(cgroups).Elem().FieldByName("KubeletVersion"); kubelet.IsValid() {
		kubelet.SetString(os.Args[1])
	}
	warnings, errors := []string{}, []string{}
	for _, validator := range []system.Validator{
		&system.OSValidator{Reporter: reporter},
		&system.KernelValidator{Reporter: reporter},
		cgroups,
	} {
		warns, errs := validator.Validate(system.DefaultSysSpec)
		warnings, errors = append(warnings, words(warns)...), append(errors, words(errs)...)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", " ")
	if err := out.Encode(map[string]any{"items": reporter.items, "warnings": warnings, "errors": errors}); err != nil {
		os.Exit(1)
	}
}
