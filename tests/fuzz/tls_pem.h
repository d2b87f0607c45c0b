/* SPDX-License-Identifier: MIT */
/* Certificates for the fuzz targets, good for a hundred years: recorded handshakes fit them. The keys are no secrets. */
#ifndef TESTS_FUZZ_TLS_PEM_H
#define TESTS_FUZZ_TLS_PEM_H

/* Signs all others. */
#define PEM_CA                                                                                                         \
	"-----BEGIN CERTIFICATE-----\n"                                                                                \
	"MIIBrzCCAVWgAwIBAgIUJkBVcK6aoA+SKFPjgPzWyu65AF4wCgYIKoZIzj0EAwIw\n"                                           \
	"JDEQMA4GA1UECgwHRXhhbXBsZTEQMA4GA1UEAwwHZnV6eiBjYTAgFw0yNjExMjAx\n"                                           \
	"MzMyMjdaGA8yMTI2MTAyNzEzMzIyN1owJDEQMA4GA1UECgwHRXhhbXBsZTEQMA4G\n"                                           \
	"A1UEAwwHZnV6eiBjYTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABL/+6PMcIPQB\n"                                           \
	"U27w27QreZX2CulqxRY3utBkuHsWCevOdcK7O9Fm2TiSB7m6UGzNxUvXR1qsBfb4\n"                                           \
	"DZQcxDlPO3ejYzBhMB0GA1UdDgQWBBSe9A/VQVM5WqKu8qeADc6IMyUWhjAfBgNV\n"                                           \
	"HSMEGDAWgBSe9A/VQVM5WqKu8qeADc6IMyUWhjAPBgNVHRMBAf8EBTADAQH/MA4G\n"                                           \
	"A1UdDwEB/wQEAwIBBjAKBggqhkjOPQQDAgNIADBFAiBTXVcQbiqBsGxBor2GB5op\n"                                           \
	"1b/ali9+94Y7h468QLipZgIhAKZNRZMh30OSBArVCvUoMyZKVqYCaAvR3rzelMg/\n"                                           \
	"jU1E\n"                                                                                                       \
	"-----END CERTIFICATE-----\n"

/* Of that CA: revokes none of them. */
#define PEM_CRL                                                                                                        \
	"-----BEGIN X509 CRL-----\n"                                                                                   \
	"MIHTMHsCAQEwCgYIKoZIzj0EAwIwJDEQMA4GA1UECgwHRXhhbXBsZTEQMA4GA1UE\n"                                           \
	"AwwHZnV6eiBjYRcNMjYxMTIwMTMzMjM5WhgPMjEyNjEwMjcxMzMyMzlaMBQwEgIB\n"                                           \
	"CRcNMjYwMTAxMDAwMDAwWqAOMAwwCgYDVR0UBAMCAQEwCgYIKoZIzj0EAwIDSAAw\n"                                           \
	"RQIhAIeU2qDshtYhzD37nQSylnJVQuqcV719o3TglyMosIsFAiAmTknBXGEgh6bq\n"                                           \
	"tjLe/DWlWi/LNYAWmR3+kucIOYf/dA==\n"                                                                           \
	"-----END X509 CRL-----\n"

/* a.example and *.a.example */
#define PEM_A                                                                                                          \
	"-----BEGIN CERTIFICATE-----\n"                                                                                \
	"MIIBwjCCAWigAwIBAgIBAjAKBggqhkjOPQQDAjAkMRAwDgYDVQQKDAdFeGFtcGxl\n"                                           \
	"MRAwDgYDVQQDDAdmdXp6IGNhMCAXDTI2MTEyMDEzMzIyN1oYDzIxMjYxMDI3MTMz\n"                                           \
	"MjI3WjAmMRAwDgYDVQQKDAdFeGFtcGxlMRIwEAYDVQQDDAlhLmV4YW1wbGUwWTAT\n"                                           \
	"BgcqhkjOPQIBBggqhkjOPQMBBwNCAASSdbuyhQ7JnvZJ2mgco5sE/92+a9xha6K+\n"                                           \
	"8GycixpbLvWY9OuYE0hTBSPpkEAbEArhlYiTaN5eUq6v375GAsUJo4GGMIGDMAkG\n"                                           \
	"A1UdEwQCMAAwIQYDVR0RBBowGIIJYS5leGFtcGxlggsqLmEuZXhhbXBsZTATBgNV\n"                                           \
	"HSUEDDAKBggrBgEFBQcDATAdBgNVHQ4EFgQUbVAg5EXWwoQJAVOsWaICXVH3KP8w\n"                                           \
	"HwYDVR0jBBgwFoAUnvQP1UFTOVqirvKngA3OiDMlFoYwCgYIKoZIzj0EAwIDSAAw\n"                                           \
	"RQIgQw6NAOg/Sbuht4HgGcdsYzjgD3EaE61bPOaED2Bu/gICIQDBvm/efV5GUf+e\n"                                           \
	"BSj/yKKs8uGoO5efsnlXyYLCVQsnaQ==\n"                                                                           \
	"-----END CERTIFICATE-----\n"

#define PEM_A_KEY                                                                                                      \
	"-----BEGIN PRIVATE KEY-----\n"                                                                                \
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgNxi0qxZY6YFQxpiI\n"                                           \
	"W5k4U6ZeoUZGbCCOi2/tOWKZOxahRANCAASSdbuyhQ7JnvZJ2mgco5sE/92+a9xh\n"                                           \
	"a6K+8GycixpbLvWY9OuYE0hTBSPpkEAbEArhlYiTaN5eUq6v375GAsUJ\n"                                                   \
	"-----END PRIVATE KEY-----\n"

/* b.example and *.b.example */
#define PEM_B                                                                                                          \
	"-----BEGIN CERTIFICATE-----\n"                                                                                \
	"MIIBwTCCAWigAwIBAgIBAzAKBggqhkjOPQQDAjAkMRAwDgYDVQQKDAdFeGFtcGxl\n"                                           \
	"MRAwDgYDVQQDDAdmdXp6IGNhMCAXDTI2MTEyMDEzMzIyN1oYDzIxMjYxMDI3MTMz\n"                                           \
	"MjI3WjAmMRAwDgYDVQQKDAdFeGFtcGxlMRIwEAYDVQQDDAliLmV4YW1wbGUwWTAT\n"                                           \
	"BgcqhkjOPQIBBggqhkjOPQMBBwNCAASDRXVb54vypWMVH05gg9wfcaXlaEIFXlOQ\n"                                           \
	"nvIQXBflG7Hc3KdlygxawOrZWFmB4G147MOZ2yQwoea38QkVS042o4GGMIGDMAkG\n"                                           \
	"A1UdEwQCMAAwIQYDVR0RBBowGIIJYi5leGFtcGxlggsqLmIuZXhhbXBsZTATBgNV\n"                                           \
	"HSUEDDAKBggrBgEFBQcDATAdBgNVHQ4EFgQU+h1AbSYzXQ/OLxZAL+HYEeX2Kh0w\n"                                           \
	"HwYDVR0jBBgwFoAUnvQP1UFTOVqirvKngA3OiDMlFoYwCgYIKoZIzj0EAwIDRwAw\n"                                           \
	"RAIgMYYmhdnLEoXV4QiG0VNLBN/yXeowuiuj5Mu5Y3cN7JUCIHC6AzSeZTphQ/BB\n"                                           \
	"8t1K25Iek4A+ttMP9+9IB1GZo3Tn\n"                                                                               \
	"-----END CERTIFICATE-----\n"

#define PEM_B_KEY                                                                                                      \
	"-----BEGIN PRIVATE KEY-----\n"                                                                                \
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg2IIkJBR0A2rSVFj+\n"                                           \
	"gW/tr0ASmGeBNMkD1BebtTi63FShRANCAASDRXVb54vypWMVH05gg9wfcaXlaEIF\n"                                           \
	"XlOQnvIQXBflG7Hc3KdlygxawOrZWFmB4G147MOZ2yQwoea38QkVS042\n"                                                   \
	"-----END PRIVATE KEY-----\n"

/* A client: OU=operators, CN=backup-1, db.hosts.example, spiffe://example.org/ns/prod/sa/web */
#define PEM_CLIENT                                                                                                     \
	"-----BEGIN CERTIFICATE-----\n"                                                                                \
	"MIICCjCCAa+gAwIBAgIBBDAKBggqhkjOPQQDAjAkMRAwDgYDVQQKDAdFeGFtcGxl\n"                                           \
	"MRAwDgYDVQQDDAdmdXp6IGNhMCAXDTI2MTEyMDEzMzIyN1oYDzIxMjYxMDI3MTMz\n"                                           \
	"MjI3WjA5MRAwDgYDVQQKDAdFeGFtcGxlMRIwEAYDVQQLDAlvcGVyYXRvcnMxETAP\n"                                           \
	"BgNVBAMMCGJhY2t1cC0xMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEDZlGZnYc\n"                                           \
	"sbaTEoKa6NlK15t+I/swgbADvvuEd+T0/ghuo5k5QgcJSDmf8VLv3wt49TCs7Ola\n"                                           \
	"Lfnp1nvNiL52i6OBujCBtzAJBgNVHRMEAjAAMFUGA1UdEQROMEyCEGRiLmhvc3Rz\n"                                           \
	"LmV4YW1wbGWGI3NwaWZmZTovL2V4YW1wbGUub3JnL25zL3Byb2Qvc2Evd2VigQ14\n"                                           \
	"QGV4YW1wbGUub3JnhwQKAAABMBMGA1UdJQQMMAoGCCsGAQUFBwMCMB0GA1UdDgQW\n"                                           \
	"BBTlH2+T3gC0QnoXpuXP/BL4H56d0TAfBgNVHSMEGDAWgBSe9A/VQVM5WqKu8qeA\n"                                           \
	"Dc6IMyUWhjAKBggqhkjOPQQDAgNJADBGAiEA5YgE0IkniCBLugbYd22l/EmdEADO\n"                                           \
	"qsD9cU7q4smk/QICIQCXQjbnxsYECvAq6TPo6e0bBEVW0UWqghjPO4G4J9CAhw==\n"                                           \
	"-----END CERTIFICATE-----\n"

#define PEM_CLIENT_KEY                                                                                                 \
	"-----BEGIN PRIVATE KEY-----\n"                                                                                \
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg3cjhJsPp3NrLXakT\n"                                           \
	"wpbO2o7UpfVNdamUz/THJd1DSSehRANCAAQNmUZmdhyxtpMSgpro2UrXm34j+zCB\n"                                           \
	"sAO++4R35PT+CG6jmTlCBwlIOZ/xUu/fC3j1MKzs6Vot+enWe82IvnaL\n"                                                   \
	"-----END PRIVATE KEY-----\n"

#endif
