"""curl's HTTP/3 through curl_cffi: curl_client.py --ca PEM [--body FILE] URL OUT"""

import argparse

from curl_cffi import CurlHttpVersion, requests


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ca", required=True)
    parser.add_argument("--body")
    parser.add_argument("url")
    parser.add_argument("out")
    options = parser.parse_args()
    body = None
    if options.body:
        with open(options.body, "rb") as file:
            body = file.read()
    answer = requests.request(
        "GET" if body is None else "POST",
        options.url,
        data=body,
        http_version=CurlHttpVersion.V3ONLY,
        verify=options.ca,
        timeout=120,
    )
    assert answer.http_version == CurlHttpVersion.V3, f"spoke HTTP version {answer.http_version}"
    assert answer.status_code == 200, f"status {answer.status_code}"
    with open(options.out, "wb") as file:
        file.write(answer.content)
    print(f"status 200, {len(answer.content)} bytes")


main()
