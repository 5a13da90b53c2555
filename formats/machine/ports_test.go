package machine

import "testing"

// N1
func TestParsePorts(t *testing.T) {
	for s, want := range map[string]string{
		"8080:80":                "127.0.0.1:8080:80/tcp",
		"80":                     "127.0.0.1:0:80/tcp",
		"0:80":                   "127.0.0.1:0:80/tcp",
		":80":                    "127.0.0.1:0:80/tcp",
		"8080:80/tcp":            "127.0.0.1:8080:80/tcp",
		"0.0.0.0:5353:53/udp":    "0.0.0.0:5353:53/udp",
		"10.0.0.1::53/udp":       "10.0.0.1:0:53/udp",
		"[::1]:8080:80":          "[::1]:8080:80/tcp",
		"[::]:8080:80":           "[::]:8080:80/tcp",
		"[::ffff:127.0.0.1]:1:2": "127.0.0.1:1:2/tcp",
		"65535:65535":            "127.0.0.1:65535:65535/tcp",
		"8000-8001:80-81":        "127.0.0.1:8000:80/tcp",
		"0:80-81":                "127.0.0.1:0:80/tcp",
	} {
		got, err := ParsePorts(s)
		if err != nil || len(got) == 0 || got[0].String() != want {
			t.Errorf("ParsePorts(%q) = %v, %v; want %s", s, got, err, want)
			continue
		}
		again, err := ParsePorts(got[0].String())
		if err != nil || len(again) != 1 || again[0] != got[0] {
			t.Errorf("%s reads as %v, %v", got[0], again, err)
		}
	}
	if got, _ := ParsePorts("8000-8002:80-82"); len(got) != 3 || got[2].Host != 8002 || got[2].Guest != 82 {
		t.Errorf("a range gave %v", got)
	}
	for _, s := range []string{
		"", ":", "a", "8080:0", "8080:", "70000:80", "80:70000", "-1:80", "+1:80", "8080:80/sctp", "8080:80/", "localhost:8080:80",
		"::1:8080:80", "[::1]8080:80", "[::1:8080:80", "1:2:3:4", "8000-8001:80", "8000:80-81", "0-1:80-81", "81-80:81-80", " 80", "0x50",
	} {
		if got, err := ParsePorts(s); err == nil {
			t.Errorf("ParsePorts(%q) = %v, want an error", s, got)
		}
	}
}

func FuzzParsePorts(f *testing.F) {
	f.Add("8080:80")
	f.Add("[::1]:0:53/udp")
	f.Add("8000-8010:80-90")
	f.Fuzz(func(t *testing.T, s string) {
		ports, err := ParsePorts(s)
		if err == nil && len(ports) == 0 {
			t.Error("neither ports nor an error")
		}
		for _, p := range ports[:min(len(ports), 4)] {
			again, err := ParsePorts(p.String())
			if err != nil || len(again) != 1 || again[0] != p {
				t.Errorf("%q: %s reads as %v, %v", s, p, again, err)
			}
		}
	})
}
