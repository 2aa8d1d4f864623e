// The code of a sign-in link is in the fragment, which browsers send nowhere: put it into the form, and send that.
// Any site can send a browser here with any fragment: what does not look like a code is no guess of this address.
const CODE = /^[0-9A-Za-z_-]{43}$/;
function signIn() {
  const code = location.hash.slice(1);
  if (!CODE.test(code)) return;
  history.replaceState(null, "", location.pathname); // it stays in no address, and in no history
  const field = document.getElementById("credential");
  field.value = code;
  field.form.submit();
}
addEventListener("hashchange", signIn);
signIn();
